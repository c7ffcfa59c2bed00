"""The swept class loss against plain autograd over dense tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import model.losses.chunked as chunked
from model.losses.chunked import Background, Rows, losses_of_anchors, summed_class_loss
from model.losses.classification import HardLabelLoss, cross_entropy
from model.losses.rule import LossRule

B, K = 2, 3
SIZES = (50, 12, 1)
N = sum(SIZES)
IMAGE, ANCHOR, LABEL = [0, 0, 1, 1], [3, 52, 0, 62], [0, 2, 1, 1]
"""Positive anchors on the first, second and third level."""
IGNORED = [(0, 10), (0, 49), (1, 50)]
WEIGHTS = torch.tensor([0.5, 2.0])


def levels(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(0)
    return [(3 * torch.randn(B, n, K)).to(dtype).requires_grad_() for n in SIZES]


def one_hot() -> Tensor:
    labels = torch.zeros(B, N, K)
    labels[IMAGE, ANCHOR, LABEL] = 1
    return labels


def rows() -> Rows:
    image, anchor = torch.tensor(IMAGE), torch.tensor(ANCHOR)
    return Rows(image, anchor, one_hot()[image, anchor], torch.ones(4, K, dtype=torch.bool))


def background(unlabelled: tuple[list[int], list[int]] = ([], [])) -> Background:
    member = torch.ones(B, N, dtype=torch.bool)
    for image, anchor in (*zip(IMAGE, ANCHOR, strict=True), *IGNORED):
        member[image, anchor] = False
    return Background(member, [torch.tensor(u, dtype=torch.int64) for u in unlabelled])


def dense_focal_loss(logits: Tensor, silent: tuple[int, int] | None) -> Tensor:
    """The loss of LossRule() by autograd; `silent`: an image and its unlabelled class."""
    alpha, gamma = 0.25, 2.0
    labels = one_hot()
    p = torch.sigmoid(logits)
    p_t = torch.where(labels > 0, p, 1 - p)
    alpha_t = torch.where(labels > 0, alpha, 1 - alpha)
    entropy = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    losses = alpha_t * (1 - p_t) ** gamma * entropy
    counted = torch.ones(B, N, K)
    if silent:
        counted[silent[0], :, silent[1]] = 0
    counted[IMAGE, ANCHOR] = 1
    for image, anchor in IGNORED:
        counted[image, anchor] = 0
    return (losses * counted * WEIGHTS[:, None, None]).sum()


def gradient_of(loss: Tensor, tensors: list[Tensor]) -> Tensor:
    return torch.cat(torch.autograd.grad(loss, tensors), dim=1)


@pytest.fixture(params=[1, 7 * K, 1 << 16])
def piece_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of one anchor, of some, of all."""
    monkeypatch.setattr(chunked, "chunk_elements", lambda device: request.param)


@pytest.mark.usefixtures("piece_size")
@pytest.mark.parametrize(("unlabelled", "silent"), [(([], []), None), (([], [2]), (1, 2))])
def test_value_and_gradient_are_those_of_the_dense_form(unlabelled: Any, silent: Any) -> None:
    logits = levels()
    loss = LossRule().class_loss()
    found = summed_class_loss(logits, loss, WEIGHTS, rows(), background(unlabelled))
    expected = dense_focal_loss(torch.cat(logits, dim=1), silent)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(
        gradient_of(2 * found, logits), gradient_of(2 * expected, logits), rtol=1e-4, atol=1e-7
    )


def test_rows_alone_leave_the_rest_without_gradient() -> None:
    logits = levels()
    found = summed_class_loss(logits, LossRule().class_loss(), WEIGHTS, rows(), None)
    gradient = gradient_of(found, logits).ne(0).any(dim=2)
    assert gradient.nonzero().tolist() == sorted([i, a] for i, a in zip(IMAGE, ANCHOR, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_a_float32_loss_and_a_gradient_of_their_type(
    dtype: torch.dtype,
) -> None:
    logits = levels(dtype)
    wide = [level.detach().float().requires_grad_() for level in logits]
    loss = LossRule().class_loss()
    found = summed_class_loss(logits, loss, WEIGHTS, rows(), background())
    expected = summed_class_loss(wide, loss, WEIGHTS, rows(), background())
    assert found.dtype == torch.float32
    assert found.item() == expected.item()
    gradient = gradient_of(found, logits)
    assert gradient.dtype == dtype
    assert torch.allclose(gradient.float(), gradient_of(expected, wide), rtol=1e-2, atol=1e-6)


def test_small_float16_gradients_live_until_the_loss_scale_comes() -> None:
    # .75 sigmoid(-7)^3 * (1 + ...) is about 1e-9: below float16's 6e-8, above it times 65536.
    logits = [torch.full((1, 1, 1), -7.0, dtype=torch.float16, requires_grad=True)]
    none = Rows(*(torch.zeros(0, dtype=torch.int64),) * 2, *(torch.zeros(0, 1),) * 2)
    everything = Background(torch.ones(1, 1, dtype=torch.bool), [torch.zeros(0, dtype=torch.int64)])
    loss = LossRule().class_loss()
    found = summed_class_loss(logits, loss, torch.ones(1), none, everything)
    (gradient,) = torch.autograd.grad(65536 * found, logits)
    p = 1 / (1 + torch.tensor(7.0).exp()).item()
    assert gradient.item() == pytest.approx(65536 * 0.75 * 3 * p**3, rel=0.02)


def test_autocast_changes_nothing() -> None:
    logits = levels()
    loss = LossRule().class_loss()
    plain = summed_class_loss(logits, loss, WEIGHTS, rows(), background())
    with torch.autocast("cpu", torch.bfloat16):
        cast = summed_class_loss(logits, loss, WEIGHTS, rows(), background())
    assert cast.item() == plain.item()
    assert torch.equal(gradient_of(cast, logits), gradient_of(plain, logits))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_gradient_buffer_is_all_that_is_kept(dtype: torch.dtype) -> None:
    logits = [torch.randn(2, 500, 20, dtype=dtype, requires_grad=True)]
    everything = Background(
        torch.ones(2, 500, dtype=torch.bool), [torch.zeros(0, dtype=torch.int64)] * 2
    )
    none = Rows(*(torch.zeros(0, dtype=torch.int64),) * 2, *(torch.zeros(0, 20),) * 2)
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        summed_class_loss(logits, LossRule().class_loss(), torch.ones(2), none, everything)
    assert sum(kept) == logits[0].nbytes


def test_second_backward_is_refused_not_wrong() -> None:
    logits = levels()
    found = summed_class_loss(logits, LossRule().class_loss(), WEIGHTS, rows(), background())
    found.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()  # type: ignore[no-untyped-call]


def test_nan_logit_reaches_the_loss() -> None:
    logits = [level.detach().clone() for level in levels()]
    logits[0][0, 7, 1] = torch.nan
    found = summed_class_loss(logits, LossRule().class_loss(), WEIGHTS, rows(), background())
    assert found.isnan()


@pytest.mark.usefixtures("piece_size")
def test_losses_of_anchors_are_sums_over_their_classes() -> None:
    logits = levels()
    loss = HardLabelLoss(cross_entropy, -1.0)
    silent = background(([], [2])).unlabelled
    found = losses_of_anchors(logits, loss, rows(), silent)
    # In float64: torch's own form loses digits where x is far below 0.
    x = torch.cat(logits, dim=1).detach().double()
    dense = F.binary_cross_entropy_with_logits(x, one_hot().double(), reduction="none")
    expected = dense.sum(dim=2)
    expected[1] = dense[1, :, :2].sum(dim=1)
    expected[1, [0, 62]] = dense[1, [0, 62]].sum(dim=1)
    assert torch.allclose(found.double(), expected, rtol=1e-5)
