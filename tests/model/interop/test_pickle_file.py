"""Pickles: arrays come back, and nothing that they name is run."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.errors import InputError
from model.interop.pickle_file import read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def pickled(folder: Path, content: Any, protocol: int = 4) -> Path:
    path = folder / "weights.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_and_plain_values_come_back(tmp_path: Path, protocol: int) -> None:
    content = {
        "model": OrderedDict(a=np.arange(6, dtype=np.float32).reshape(2, 3), b=np.zeros((0, 4))),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "big_endian": np.array([1.5], ">f8"),
        "__author__": "someone",
        "iteration": 7,
    }
    found = read_pickle(pickled(tmp_path, content, protocol))
    assert found["model"]["a"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert found["model"]["b"].shape == (0, 4)
    assert found["turned"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert found["big_endian"].tolist() == [1.5]
    assert (found["__author__"], found["iteration"]) == ("someone", 7)


@pytest.mark.parametrize("core", ["core", "_core"])
def test_arrays_of_either_numpy_are_read(tmp_path: Path, core: str) -> None:
    raw = pickle.dumps(np.array([1.0, 2.0]), protocol=2)
    assert b"numpy._core.multiarray" in raw
    path = tmp_path / "weights.pkl"
    path.write_bytes(raw.replace(b"numpy._core.multiarray", f"numpy.{core}.multiarray".encode()))
    assert read_pickle(path).tolist() == [1.0, 2.0]


class Calls:
    """Calls something when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_code_is_refused_by_name_and_not_run(tmp_path: Path, protocol: int) -> None:
    path = pickled(tmp_path, {"model": Calls(os.mkdir, str(tmp_path / "made"))}, protocol)
    with pytest.raises(InputError, match=r"weights\.pkl: holds posix\.mkdir: accepted are plain"):
        read_pickle(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "call",
    [
        Calls(eval, "1 + 1"),
        Calls(getattr, "text", "upper"),
        Calls(np.load, "weights.npy"),
        Calls(np.fromfile, "weights.bin"),
    ],
)
def test_builtins_and_the_rest_of_numpy_are_refused(tmp_path: Path, call: Calls) -> None:
    with pytest.raises(InputError, match=r"weights\.pkl: holds (builtins|numpy)\.\w+: accepted"):
        read_pickle(pickled(tmp_path, call))


def test_names_with_dots_lead_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "weights.pkl"
    # Protocol 4 may ask for an attribute of what is allowed: `numpy.ndarray.tofile`.
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.")
    with pytest.raises(InputError, match=r"holds numpy\.ndarray\.tofile"):
        read_pickle(path)


def test_bytes_are_decoded_as_latin1_only(tmp_path: Path) -> None:
    path = tmp_path / "weights.pkl"
    path.write_bytes(b"\x80\x02c_codecs\nencode\nX\x02\x00\x00\x00abX\x03\x00\x00\x00hex\x86R.")
    with pytest.raises(InputError, match="bytes as hex"):
        read_pickle(path)


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_damaged_file_is_refused_in_a_sentence(tmp_path: Path, cut: int) -> None:
    path = pickled(tmp_path, {"model": {"a": np.zeros(3)}})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"weights\.pkl: not a pickle, or a damaged one"):
        read_pickle(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"weights\.pkl: no such weights file"):
        read_pickle(tmp_path / "weights.pkl")
