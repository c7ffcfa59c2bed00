"""What decoding takes of memory, file by file: python decode_memory.py MEGAPIXELS [NAME ...].

Prints JSON: for each file the bytes that are reserved for it and by how many the process grew at
the most.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import sys
import warnings
from collections.abc import Callable
from functools import partial

from PIL import Image

from export.manifest import read_bundle
from service.errors import Problem
from service.pictures.decoded_bytes import decoded_bytes, upright_bytes
from service.pictures.drawing import draw_detections
from service.pictures.images import open_header, prepare_image, read_upright, shrink_in_decoder
from service.settings import packaged_bundle
from tests.exif import exif_of
from tests.service import hostile
from tests.service.fakes import THREE, picture
from tests.service.peak import growth
from tests.service.pictures import avif_files

SCALE = 480

DRAWN = ("jpeg noise", "png rgba", "png turned", "webp noise")
"""Also measured as whole pictures with boxes drawn on them."""


def files(width: int, height: int) -> dict[str, Callable[[], bytes]]:
    """Files of this size, of every type and of what makes its decoder take more."""
    exif = exif_of(6).tobytes()

    def black(kind: str, mode: str = "RGB", **options: object) -> Callable[[], bytes]:
        return lambda: hostile.black(width, height, kind, mode, **options)

    def png(row_bytes: int, depth: int, colour: int, before: bytes = b"") -> Callable[[], bytes]:
        pixels = hostile.zeros((row_bytes + 1) * height)
        return lambda: hostile.png(width, height, pixels, depth=depth, colour=colour, before=before)

    palette = hostile.chunk(b"PLTE", bytes(range(256)) * 3)
    palette += hostile.chunk(b"tRNS", bytes(range(256)))
    return {
        "jpeg": black("JPEG"),
        "jpeg noise": lambda: picture(width, height, "JPEG", quality=95),
        "jpeg progressive 4:2:0": black("JPEG", progressive=True),
        "jpeg progressive 4:4:4": black("JPEG", progressive=True, subsampling=0),
        "jpeg progressive cmyk": black("JPEG", "CMYK", progressive=True),
        "jpeg of three scans": lambda: hostile.sequential_scans(width, height),
        "jpeg turned": black("JPEG", exif=exif),
        "jpeg odd, turned": lambda: hostile.black(width - 1, height - 1, "JPEG", exif=exif),
        "png": png(3 * width, 8, 2),
        "png grey": png(width, 8, 0),
        "png 1 bit": png(-(-width // 8), 1, 0),
        "png grey 16 bit": png(2 * width, 16, 0),
        "png grey alpha": png(2 * width, 8, 4),
        "png rgba": png(4 * width, 8, 6),
        "png rgba 16 bit": png(8 * width, 16, 6),
        "png palette transparent": png(width, 8, 3, palette),
        "png turned": png(3 * width, 8, 2, hostile.chunk(b"eXIf", exif[6:])),
        "png 16 texts": png(
            3 * width, 8, 2, hostile.chunk(b"zTXt", b"k\0\0" + hostile.zeros(1 << 20)) * 16
        ),
        "gif": black("GIF", "P"),
        "gif transparent": black("GIF", "P", transparency=0),
        "bmp": black("BMP"),
        "bmp runs": lambda: hostile.bmp_of_runs(
            width, height, (b"\xff\0" * (width // 255) + b"\0\0") * height + b"\0\1"
        ),
        "tiff": black("TIFF"),
        "tiff lzw": black("TIFF", compression="tiff_lzw"),
        "tiff jpeg": black("TIFF", compression="jpeg"),
        "tiff turned": black("TIFF", compression="tiff_lzw", tiffinfo={274: 6}),
        "tiff of one tile": lambda: hostile.tiff_of_one_tile(16, height),
        "tiff of a taller jpeg": lambda: hostile.tiff_of_taller_jpeg(width, height),
        "webp": black("WEBP"),
        "webp lossless rgba": lambda: hostile.black(width, height, "WEBP", "RGBA", lossless=True),
        "webp noise": lambda: picture(width, height, "WEBP", method=0),
        "avif": black("AVIF", speed=10),
        "avif 4:4:4": black("AVIF", speed=10, subsampling="4:4:4"),
        "avif rgba noise": lambda: _rgba_noise(width, height),
        "avif with film grain": black("AVIF", speed=10, advanced={"film-grain-test": "1"}),
        "avif that says 8x8": lambda: avif_files.lying((width, height), (8, 8)),
        "avif of 64x64 that says more": lambda: avif_files.lying((64, 64), (width, height)),
        "avif of tiles": lambda: avif_files.tiled(width, height),
        "avif of tiles that say more": lambda: avif_files.tiled(width, height, tile=64),
        "avif its own transparency": lambda: avif_files.own_alpha(width, height),
        "avif of frames not shown": lambda: avif_files.hidden_frames(1024, 768),
    }


def _rgba_noise(width: int, height: int) -> bytes:
    rgba = Image.effect_noise((width, height), 60).convert("RGBA")
    rgba.putalpha(rgba.getchannel("G"))
    out = io.BytesIO()
    rgba.save(out, "AVIF", speed=10, subsampling="4:4:4")
    return out.getvalue()


def main(megapixels: float, names: list[str]) -> None:
    """Measures every file, or those of these names, and prints what they took."""
    warnings.simplefilter("ignore")
    manifest = read_bundle(packaged_bundle()).manifest
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5) // 32 * 32
    width = height // 3 * 4
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        prepare_image(picture(64, 48, kind), SCALE, manifest)
    found: dict[str, dict[str, int]] = {}

    def prepare(data: bytes) -> None:
        with contextlib.suppress(Problem):
            prepare_image(data, SCALE, manifest, max_pixels=10**9)

    def draw(data: bytes) -> None:
        drawn = draw_detections(read_upright(data, max_pixels=10**9), THREE, ["a", "b", "c"])
        drawn.save(io.BytesIO(), "PNG")

    for name, make in files(width, height).items():
        if names and name not in names:
            continue
        data = make()
        gc.collect()
        image = open_header(data, 10**9)
        if name in DRAWN:
            reserved = upright_bytes(image, data)
            _, grew = growth(partial(draw, data))
            found[name + ", drawn"] = {"reserved": reserved, "grew": grew}
        shrink = shrink_in_decoder(image, SCALE)
        reserved = decoded_bytes(image, data, SCALE, manifest, shrink)
        del image
        _, grew = growth(partial(prepare, data))
        found[name] = {"reserved": reserved, "grew": grew}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
