"""The image as a tensor of the Open Inference Protocol, as a model's metadata asks for it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel

from loadtest.protocols.protocol import Picture
from model.errors import InputError
from model.letterbox import Canvas, Letterbox, canvases_of_scale, fill_canvas, letterbox
from model.pictures import upright_rgb

DTYPES = {
    "BOOL": "?",
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
"""numpy's names of the datatypes that have a fixed size."""

PIXELS = ("UINT8", "FP16", "FP32")
"""Of an image tensor; floating-point pixels go from 0 to 1."""

CHANNELS = 3


class TensorSpec(BaseModel):
    """A tensor in a model's metadata; -1 in the shape is any number."""

    name: str
    datatype: str
    shape: list[int]


class ImageInput:
    """The input that takes the image.

    BYTES gets the picture's file. A tensor [H, W, 3] or [3, H, W], with or without a batch of one
    before it, gets the upright picture, resized as our own servers do it: into a canvas of the
    shape's size, or where that is open of the scale's; with neither it stays as large as it is.
    InputError for any other.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self.is_file = spec.datatype == "BYTES"
        if self.is_file:
            return
        sides = spec.shape[-3:]
        self._planar = sides[:1] == [CHANNELS]
        if (
            len(spec.shape) not in (3, 4)
            or spec.datatype not in PIXELS
            or not (self._planar or sides[2] == CHANNELS)
        ):
            raise InputError(
                f"the model's input {spec.name} is {spec.datatype} {spec.shape}; accepted are "
                f"BYTES, and {', '.join(PIXELS)} of [N, H, W, 3] or [N, 3, H, W]"
            )
        self._size = sides[1:] if self._planar else sides[:2]

    def place(self, picture: Picture, scale: int | None) -> Letterbox:
        """Where the picture lies in the tensor."""
        height, width = self._size
        if min(height, width) > 0:
            canvas = Canvas(height, width)
            return letterbox(picture.size, scale or max(canvas), [canvas])
        if scale:
            return letterbox(picture.size, scale, canvases_of_scale(scale))
        return Letterbox(picture.size, picture.size, Canvas(*picture.size))

    def tensor(self, picture: Picture, place: Letterbox) -> NDArray[Any]:
        """The pixels, of the input's shape and datatype."""
        pixels: NDArray[Any] = np.zeros((*place.canvas, CHANNELS), np.uint8)
        with Image.open(io.BytesIO(picture.data)) as image:
            fill_canvas(upright_rgb(image), place, pixels)
        if self._planar:
            pixels = pixels.transpose(2, 0, 1)
        if self.spec.datatype != "UINT8":
            pixels = (pixels / np.float32(255)).astype(DTYPES[self.spec.datatype])
        batch = (1,) * (len(self.spec.shape) - 3)
        return np.ascontiguousarray(pixels).reshape(batch + pixels.shape)
