"""The images in an inference request's one input: encoded pictures, or pixels."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import Malformed, TooLarge
from service.oip.document import InferDocument, InputTensor, infer_document
from service.payloads import from_base64, too_many_images

INPUT = "image"
MAX_DIGITS = 20
"""Of a length."""

Images = list[bytes] | NDArray[np.uint8]
"""The files of pictures, or uint8 RGB [N, H, W, 3]."""


def parse_infer(
    body: bytes, header_length: str | None, max_images: int, max_pixels: int
) -> tuple[InferDocument, Images]:
    """The request in a body, and its images; Malformed or TooLarge says what is wrong.

    `header_length` is the header Inference-Header-Content-Length: how much of the body is JSON,
    where binary data follow it.
    """
    size = len(body)
    if header_length is not None:
        if not header_length.isdecimal() or len(header_length) > MAX_DIGITS:
            raise Malformed(f"Inference-Header-Content-Length is {header_length[:64]!r}: no number")
        size = int(header_length)
        if size > len(body):
            raise Malformed(
                f"Inference-Header-Content-Length is {size}, but the body has {len(body)} bytes"
            )
    document = infer_document(body[:size])
    if len(document.inputs) != 1 or document.inputs[0].name != INPUT:
        names = ", ".join(repr(tensor.name[:64]) for tensor in document.inputs[:8])
        raise Malformed(f"the inputs are {names or 'none'}; accepted is one, {INPUT!r}")
    tensor = document.inputs[0]
    binary = _binary_of(tensor, memoryview(body)[size:])
    match tensor.datatype, tensor.shape:
        case "BYTES", [count]:
            _check_count(count, max_images)
            return document, _pictures(tensor.data, binary, count)
        case "UINT8", [count, height, width, 3]:
            _check_count(count, max_images)
            if height * width > max_pixels:
                found = f"{INPUT} has {width}x{height} pixels"
                raise TooLarge(f"{found}; accepted are up to {max_pixels:,}")
            return document, _pixels(tensor.data, binary, (count, height, width, 3))
    raise Malformed(
        f"{INPUT} is {tensor.datatype[:16]} {tensor.shape[:8]}; accepted are BYTES [N], encoded "
        "pictures, and UINT8 [N, H, W, 3], RGB pixels"
    )


def _binary_of(tensor: InputTensor, behind: memoryview) -> memoryview | None:
    """What lies behind the JSON, where the tensor says that it lies there."""
    size = tensor.parameters.binary_data_size
    if (size or 0) != len(behind):
        raise Malformed(
            f"{INPUT}.parameters.binary_data_size is {size}, but {len(behind)} bytes follow the "
            "JSON, whose length Inference-Header-Content-Length tells"
        )
    if size is not None and tensor.data is not None:
        raise Malformed(f"{INPUT} has data as well as binary_data_size; accepted is one of them")
    return None if size is None else behind


def _check_count(count: int, max_images: int) -> None:
    if count < 1:
        raise Malformed(f"{INPUT} holds no image")
    if count > max_images:
        raise too_many_images(max_images)


def _pictures(data: Any, binary: memoryview | None, count: int) -> list[bytes]:
    if binary is not None:
        pictures = list(_elements(binary))
    elif isinstance(data, list):
        pictures = [from_base64(f"{INPUT}.data[{i}]", text) for i, text in enumerate(data[:count])]
        pictures += [b""] * (len(data) - count)
    else:
        raise Malformed(f"{INPUT}.data must be a list of base64 strings")
    if len(pictures) != count:
        raise Malformed(f"{INPUT} holds {len(pictures)} elements, but its shape says {count}")
    if not all(pictures):
        raise Malformed(f"one of the elements of {INPUT} is empty")
    return pictures


def _elements(binary: memoryview) -> Iterator[bytes]:
    """The elements of BYTES as binary data: the length as uint32, little-endian, and the bytes."""
    at = 0
    while at < len(binary):
        end = at + 4
        if end <= len(binary):
            (length,) = struct.unpack_from("<I", binary, at)
            at, end = end, end + length
        if end > len(binary):
            raise Malformed(f"the binary data of {INPUT} are cut short within an element")
        yield bytes(binary[at:end])
        at = end


def _pixels(
    data: Any, binary: memoryview | None, shape: tuple[int, int, int, int]
) -> NDArray[np.uint8]:
    if 0 in shape:
        raise Malformed(f"{INPUT} is UINT8 {list(shape)}: no side may be 0")
    values = _numbers(data) if binary is None else np.frombuffer(binary, np.uint8)
    if values.size != np.prod(shape):
        raise Malformed(f"{INPUT} holds {values.size} values, but its shape is {list(shape)}")
    return values.reshape(shape)


def _numbers(data: Any) -> NDArray[np.uint8]:
    """A JSON tensor, flat or nested, as uint8."""
    try:
        values = np.asarray(data)
    except (ValueError, OverflowError):
        values = np.array(None)  # ragged
    if values.dtype.kind != "i" or (values.size and not 0 <= values.min() <= values.max() <= 255):
        raise Malformed(f"{INPUT}.data must be whole numbers from 0 to 255, flat or nested alike")
    return values.astype(np.uint8)
