"""One process alone, and which device it takes."""

from __future__ import annotations

import pytest
import torch

from model import distributed
from model.distributed import agreed, gather, of_first, own_device, rank, sum_across, world_size
from model.errors import InputError


def test_alone_everything_is_its_own() -> None:
    assert (rank(), world_size()) == (0, 1)
    assert gather("a") == ["a"]
    assert of_first("a") == "a"
    value = torch.ones(2, requires_grad=True)
    total = sum_across(value)
    assert total.tolist() == [1.0, 1.0]
    assert not total.requires_grad


def test_alone_an_error_passes_through() -> None:
    with pytest.raises(InputError, match="broken"), agreed():
        raise InputError("broken")


def test_auto_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_device("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(distributed.torch, "empty", lambda *args, **kwargs: None)
    assert own_device("auto") == "cuda:0"


@pytest.mark.parametrize("name", ["cuda", "auto"])
def test_each_of_several_processes_gets_its_own_gpu(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(distributed.torch, "empty", lambda *args, **kwargs: None)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device(name) == "cuda:3"
    with pytest.raises(InputError, match="'cuda:1': with several processes write cuda"):
        own_device("cuda:1")


def test_unknown_device_is_refused() -> None:
    with pytest.raises(
        InputError, match="device 'abacus': accepted are auto, cpu, cuda and cuda:N"
    ):
        own_device("abacus")
