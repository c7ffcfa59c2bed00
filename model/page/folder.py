"""The folder of a page, and which command wrote it: no page takes the place of another."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, tostring

from model.errors import InputError
from model.page.markup import tag

PAGE = "index.html"

HEAD_BYTES = 4096
"""Where a page says who wrote it."""


def generator(command: str) -> Element:
    """The line of a page's head that names the command that wrote it."""
    return tag("meta", name="generator", content=command)


def check_page_folder(out: Path, option: str, command: str, parts: set[str]) -> None:
    """InputError unless `out` is new, empty, or holds an earlier page of a command and its parts.

    `option`: what the folder was given with; `parts`: names of all that the command writes there.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: {option} names a folder")
    held = {path.name for path in out.iterdir()} if out.exists() else set()
    if PAGE in held:
        with (out / PAGE).open("rb") as file:
            head = file.read(HEAD_BYTES)
        if tostring(generator(command), method="html") not in head:
            raise InputError(
                f"{out / PAGE} was not written by {command}, which would replace it: choose "
                f"another {option}"
            )
    if foreign := sorted(held - parts):
        raise InputError(
            f"{out} holds {foreign[0]}, which {command} did not write: choose another {option}"
        )
