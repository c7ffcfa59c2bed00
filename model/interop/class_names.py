"""The class names of an imported head: a text file, one name a line."""

from __future__ import annotations

import itertools
from pathlib import Path

from model.errors import InputError


def read_class_names(path: Path, count: int) -> tuple[tuple[str, ...], list[str]]:
    """`count` distinct names in the order of the file, and those of them that were made distinct.

    UTF-8, with any line ends; a name that comes again gets a number, `N/A 2`. Raises InputError for
    a file that can't be read, a blank line between names, or another number of names.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of class names") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a text file in UTF-8 ({error})") from None
    # Not str.splitlines(), which also splits at characters that a name may hold.
    lines = [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []
    if "" in lines:
        raise InputError(
            f"{path}: line {lines.index('') + 1} is blank: every class of the head needs a name"
        )
    if len(lines) != count:
        raise InputError(
            f"{path}: {len(lines)} names, but the head has {count} classes: write one name a line, "
            "in the order of the head"
        )
    names: list[str] = []
    renamed: list[str] = []
    taken = set(lines)
    for name in lines:
        if name in names:
            name = next(n for n in (f"{name} {k}" for k in itertools.count(2)) if n not in taken)
            taken.add(name)
            renamed.append(name)
        names.append(name)
    return tuple(names), renamed
