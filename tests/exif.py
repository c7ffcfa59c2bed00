"""Pictures as cameras store them: turned, with an EXIF orientation that says how."""

from __future__ import annotations

from PIL import Image

# What a camera does to the upright picture before it writes this orientation down: the inverse of
# what the viewer must do.
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """The pixels of a file of this orientation that shows the upright picture."""
    turn = TURNS[orientation]
    return upright if turn is None else upright.transpose(turn)


def exif_of(orientation: int) -> Image.Exif:
    """What `Image.save` takes as `exif`."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
