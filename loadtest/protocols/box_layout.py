"""Where boxes lie in the JSON that a server answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from loadtest.protocols.protocol import Detection, Malformed
from model.errors import InputError

Corner = Literal["xyxy", "xywh", "cxcywh"]


class BoxLayout(BaseModel):
    """`detections` is the way to the list, dots between its steps; the rest are keys of its rows.

    `box` is a key of four numbers, or four keys; `format` says what they are, in pixels of the
    picture: two corners; a corner, width and height; the centre, width and height.

        {"detections": "predictions", "box": ["x", "y", "width", "height"], "format": "cxcywh",
         "label": "class", "score": "confidence"}
    """

    model_config = ConfigDict(extra="forbid")

    detections: str = "detections"
    box: str | tuple[str, str, str, str] = "box"
    format: Corner = "xyxy"
    label: str = "label"
    score: str = "score"

    def read(self, body: bytes) -> list[Detection]:
        """The detections of an answer; raises Malformed."""
        try:
            found = json.loads(body)
        except ValueError:
            raise Malformed("not JSON") from None
        try:
            for step in self.detections.split(".") if self.detections else ():
                found = found[step]
            return [self._detection(row) for row in found]
        except (KeyError, TypeError, ValueError, IndexError):
            raise Malformed("the answer has no boxes where --boxes says") from None

    def _detection(self, row: dict[str, Any]) -> Detection:
        values = row[self.box] if isinstance(self.box, str) else [row[key] for key in self.box]
        a, b, c, d = (float(value) for value in values)
        match self.format:
            case "xyxy":
                box = (a, b, c - a, d - b)
            case "xywh":
                box = (a, b, c, d)
            case "cxcywh":
                box = (a - c / 2, b - d / 2, c, d)
        return Detection(box, str(row[self.label]), float(row[self.score]))


def read_layout(path: Path) -> BoxLayout:
    """The layout in a JSON file; InputError says what is wrong with it."""
    try:
        return BoxLayout.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        accepted = ", ".join(BoxLayout.model_fields)
        raise InputError(f"{path}: {where}: {first['msg']}; accepted are {accepted}") from None
