"""Pickles of plain values and numpy arrays, read without running what they name."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from model.errors import InputError


def read_pickle(path: Path) -> Any:
    """What a pickle holds: plain values, and numpy arrays of them.

    Raises InputError for a file that is missing or damaged, and for one that names anything else,
    before that is even imported: a weights file must not be able to run code.
    """
    try:
        with path.open("rb") as file:
            # latin1 reads the arrays that Python 2 wrote.
            return _Unpickler(file, encoding="latin1").load()
    except FileNotFoundError:
        raise InputError(f"{path}: no such weights file") from None
    except _Refused as refused:
        raise InputError(
            f"{path}: holds {refused}: accepted are plain values and numpy arrays"
        ) from None
    except Exception:
        raise InputError(f"{path}: not a pickle, or a damaged one") from None


class _Refused(Exception):
    """A name that a weights file has no need of."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # numpy 2 calls its core `_core`; files hold either name.
        allowed = _ALLOWED.get((module.replace("numpy._core", "numpy.core"), name))
        if allowed is None:
            raise _Refused(f"{module}.{name}")
        return allowed


def _bytes_of(text: str, encoding: str) -> bytes:
    """How pickles of protocol 2 write bytes; `_codecs.encode` itself knows more than encodings."""
    if encoding != "latin1":
        raise _Refused(f"bytes as {encoding}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How they write none at all."""
    return b""


def _rebuilder(protocol: int) -> Callable[..., Any]:
    """The function, private to numpy, that pickles of this protocol rebuild an array with."""
    rebuild: Callable[..., Any] = np.zeros(1).__reduce_ex__(protocol)[0]  # type: ignore[assignment]
    return rebuild


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _bytes_of,
    ("__builtin__", "bytes"): _no_bytes,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): _rebuilder(protocol=2),
    ("numpy.core.numeric", "_frombuffer"): _rebuilder(protocol=5),
}
