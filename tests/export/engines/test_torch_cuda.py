"""The logic of the GPU session without a GPU: an eager stand-in that keeps CUDA graphs' rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import export.engines.torch_cuda as torch_cuda
from export.engines.session import SessionError
from export.engines.torch_cuda import Constants, Gpu, TorchCudaSession
from export.engines.torch_session import TorchSession, manifest_of_checkpoint, network_of
from export.manifest import Manifest
from export.view import ExportedView
from model.checkpoint import load_checkpoint
from model.retinanet import RetinaNet
from model.synthetic.scene import draw_scene

SIZE = np.array([[64, 64]], np.int64)
TOP_K = 60
"""Few candidates: the fixpoint compares all with all, which takes a GPU for 5,000."""


class EagerGraphs:
    """Replays by computing anew, into the tensors that the capture gave and from those it read."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.captures = self.replays = 0
        self.running = False

    def host(self, like: Tensor) -> Tensor:
        return torch.empty_like(like)

    def capture(
        self, compute: Callable[[], tuple[Tensor, ...]]
    ) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        self.captures += 1
        outputs = compute()
        # A capture records and computes nothing: what it gives is read after a replay only.
        for output in outputs:
            output.zero_()

        def replay() -> None:
            assert self.running
            self.replays += 1
            for output, new in zip(outputs, compute(), strict=True):
                output.copy_(new)

        return outputs, replay

    def run(self, work: Callable[[], None]) -> None:
        self.running = True
        work()
        self.running = False


@pytest.fixture(scope="module")
def network(tiny_checkpoint: Path) -> RetinaNet:
    return network_of(load_checkpoint(tiny_checkpoint), torch.float32, "cpu", compiled=False)


@pytest.fixture(scope="module")
def manifest(tiny_checkpoint: Path) -> Manifest:
    checkpoint = load_checkpoint(tiny_checkpoint)
    manifest = manifest_of_checkpoint(tiny_checkpoint, checkpoint, "fp32", (64,))
    thresholds = manifest.thresholds.model_copy(update={"pre_nms_top_k": TOP_K})
    return manifest.model_copy(update={"thresholds": thresholds})


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return draw_scene(4, (64, 64)).image[None]


def test_detections_are_those_of_the_session_on_the_cpu(
    network: RetinaNet, manifest: Manifest, image: np.ndarray
) -> None:
    gpu = EagerGraphs()
    session = TorchCudaSession(network, manifest, gpu)
    batch = np.concatenate([image, image[:, ::-1]])
    sizes = np.array([[64, 64], [40, 64]], np.int64)
    expected = TorchSession(network, manifest).run(batch, sizes, 0.05, 0.5)
    found = session.run(batch, sizes, 0.05, 0.5)
    for mine, theirs in zip(expected, found, strict=True):
        assert len(mine) > 10
        np.testing.assert_allclose(theirs.boxes, mine.boxes, atol=1e-3)
        np.testing.assert_allclose(theirs.scores, mine.scores, atol=1e-5)
        assert theirs.classes.tolist() == mine.classes.tolist()


def test_each_shape_is_captured_once_and_replayed_for_other_pictures_and_thresholds(
    network: RetinaNet, manifest: Manifest, image: np.ndarray
) -> None:
    gpu = EagerGraphs()
    session = TorchCudaSession(network, manifest, gpu)
    reference = TorchSession(network, manifest)
    for pictures, size, threshold in (
        (image, SIZE, 0.05),
        (np.ascontiguousarray(image[:, ::-1]), SIZE, 0.05),
        (image, SIZE // 2, 0.05),
        (image, SIZE, 0.3),
    ):
        (found,) = session.run(pictures, size, threshold, 0.5)
        (expected,) = reference.run(pictures, size, threshold, 0.5)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    assert (gpu.captures, gpu.replays) == (1, 4)
    session.run(np.concatenate([image, image]), np.concatenate([SIZE, SIZE]), 0.05, 0.5)
    assert (gpu.captures, gpu.replays) == (2, 5)


def test_an_image_that_did_not_converge_is_done_exactly(
    network: RetinaNet, manifest: Manifest, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = ExportedView.forward

    def lost(self: ExportedView, *inputs: Tensor) -> tuple[Tensor, ...]:
        counts, boxes, scores, classes, converged, *candidates = forward(self, *inputs)
        return (counts, boxes * 0, scores, classes, converged & False, *candidates)

    monkeypatch.setattr(ExportedView, "forward", lost)
    (found,) = TorchCudaSession(network, manifest, EagerGraphs()).run(image, SIZE, 0.05, 0.5)
    (expected,) = TorchSession(network, manifest).run(image, SIZE, 0.05, 0.5)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)


def test_a_run_that_fails_is_a_session_error(network: RetinaNet, manifest: Manifest) -> None:
    session = TorchCudaSession(network, manifest, EagerGraphs())
    with pytest.raises(SessionError, match="torch failed on a batch"):
        session.run(np.zeros((1, 33, 33, 3), np.uint8), np.array([[33, 33]]), 0.05, 0.5)


def test_constants_of_the_code_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = Constants()

    def work() -> list[Tensor]:
        return [
            torch.tensor([1.0, 2.0]),
            torch.tensor([1.0, 2.0]),
            torch.tensor([1, 2]),
            torch.tensor([1.0, 2.0], dtype=torch.float64),
        ]

    with constants:
        first, same, whole, double = work()
        again = work()
    assert first is same
    assert [a is b for a, b in zip([first, same, whole, double], again, strict=True)] == [True] * 4
    assert (whole.dtype, double.dtype) == (torch.int64, torch.float64)
    assert first.tolist() == [1.0, 2.0]


def test_view_makes_all_its_constants_while_it_warms_up(
    network: RetinaNet, manifest: Manifest, image: np.ndarray
) -> None:
    view = ExportedView(network, manifest.mean, manifest.std, manifest.thresholds, "tensor")
    inputs = (
        torch.from_numpy(image), torch.from_numpy(SIZE), torch.tensor([0.05]), torch.tensor([0.5]),
    )  # fmt: skip
    constants = Constants()
    with torch.inference_mode(), constants:
        view(*inputs)
        made = len(constants.made)
        view(*inputs)
    assert made > 0
    assert len(constants.made) == made


def test_stand_in_has_what_the_session_asks_of_cuda() -> None:
    names = {name for name in vars(Gpu) if not name.startswith("_")}
    assert names <= set(dir(EagerGraphs))
    assert names <= set(dir(torch_cuda.CudaGraphs))
    for name in ("Stream", "stream", "CUDAGraph", "graph", "graph_pool_handle"):
        assert hasattr(torch.cuda, name)
