"""What a body holds: the bytes of one or more pictures, however they are wrapped."""

from __future__ import annotations

import base64
import json
from email.message import Message
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser

from service.errors import Malformed

WRAPPED = ("multipart/form-data", "application/json")

MAX_FORM_FIELDS = 64
"""Fields that are not files are ignored, but not without end: each costs time to parse."""

MAX_JSON_VALUES = 2_000_000
"""Values that a JSON body may hold: each takes up to 100 bytes once parsed, and as text only 2."""


def is_picture(content_type: str | None) -> bool:
    """Whether `pictures_of` takes a body of this type as the picture itself."""
    return _header(content_type).get_content_type() not in WRAPPED


def pictures_of(content_type: str | None, body: bytes, max_images: int) -> list[bytes]:
    """The pictures of a body, at least one; Malformed says what is wrong with it.

    Only multipart/form-data and application/json are told by the header. Everything else is taken
    as the picture itself, whatever it is called: `curl --data-binary @cell.jpg` says
    application/x-www-form-urlencoded, and what counts is the content.
    """
    if not body:
        raise Malformed("the body is empty: send a picture")
    header = _header(content_type)
    match header.get_content_type():
        case "multipart/form-data":
            pictures = _multipart(header.get_param("boundary"), body, max_images)
        case "application/json":
            pictures = _json(body, max_images)
        case _:
            return [body]
    if not all(pictures):
        raise Malformed("one of the images is empty")
    return pictures


def _header(content_type: str | None) -> Message:
    header = Message()
    header["content-type"] = content_type or "application/octet-stream"
    return header


def _multipart(boundary: object, body: bytes, max_images: int) -> list[bytes]:
    if not isinstance(boundary, str) or not boundary:
        raise Malformed("the Content-Type multipart/form-data needs its boundary")
    pictures: list[bytes] = []
    fields = 0
    ended = False

    def on_file(file: File) -> None:
        if len(pictures) == max_images:
            raise too_many_images(max_images)
        file.file_object.seek(0)
        pictures.append(file.file_object.read())

    def on_field(_: Field) -> None:
        nonlocal fields
        fields += 1
        if fields > MAX_FORM_FIELDS:
            raise Malformed(f"more than {MAX_FORM_FIELDS} form fields beside the files")

    def on_end() -> None:
        nonlocal ended
        ended = True

    try:
        parser = FormParser(
            "multipart/form-data",
            on_field=on_field,
            on_file=on_file,
            on_end=on_end,
            boundary=boundary,
            # The body is in memory already and bounded: nothing goes to disk.
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1},
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError, AssertionError):
        raise Malformed("the multipart body is malformed") from None
    if not ended:
        raise Malformed("the multipart body is cut short: its closing boundary is missing")
    if not pictures:
        raise Malformed("the multipart body has no file field: send the picture as a file")
    return pictures


def json_document(body: bytes) -> Any:
    """What a JSON body says; Malformed if it is none, or holds too much to be parsed."""
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > MAX_JSON_VALUES:
        raise Malformed(
            f"the JSON holds more than {MAX_JSON_VALUES:,} values: send picture files, or pixels "
            "as binary data"
        )
    try:
        return json.loads(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise Malformed("the JSON body is not UTF-8") from None
    except RecursionError:
        raise Malformed("the JSON body nests too deep") from None
    except ValueError:
        raise Malformed("the body is not JSON") from None


def _json(body: bytes, max_images: int) -> list[bytes]:
    match json_document(body):
        case {"image": image, **rest} if not rest:
            return [from_base64("image", image)]
        case {"images": list(images), **rest} if images and not rest:
            if len(images) > max_images:
                raise too_many_images(max_images)
            return [from_base64(f"images[{i}]", image) for i, image in enumerate(images)]
    raise Malformed(
        'the JSON body must be {"image": "..."} or {"images": ["...", ...]}, nothing else, '
        "each image base64 or a data: URI"
    )


def from_base64(name: str, text: Any) -> bytes:
    """The bytes of a base64 string or data: URI; Malformed tells of it by `name`."""
    if not isinstance(text, str):
        raise Malformed(f"{name} must be a string: base64 or a data: URI")
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise Malformed(f"{name}: only data: URIs with ;base64 are accepted")
    elif "://" in text[:16]:
        raise Malformed(f"{name} is a URL: images are not fetched, send the picture itself")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Malformed(f"{name} is not base64") from None


def too_many_images(max_images: int) -> Malformed:
    """What a request with more images than may be is refused with."""
    return Malformed(f"too many images: one request may hold up to {max_images}")
