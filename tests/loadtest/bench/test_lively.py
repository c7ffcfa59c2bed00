from __future__ import annotations

import torch

from loadtest.bench.lively import lively_checkpoint
from model.letterbox import Canvas
from model.normalise import normalise
from model.synthetic.scene import draw_scene


def test_lively_model_finds_as_much_as_a_trained_one() -> None:
    checkpoint = lively_checkpoint("resnet18", 5, Canvas(256, 320), head_width=16)
    image = torch.from_numpy(draw_scene(3, (256, 320)).image)[None]
    pixels = normalise(image, torch.tensor([[256, 320]]), checkpoint.mean, checkpoint.std)
    with torch.no_grad():
        logits = torch.cat([level.flatten() for level in checkpoint.build()(pixels).logits])
    # 1,000 pairs on 800x1088 are 94 on 256x320; the last of them lies on the threshold.
    assert int((torch.sigmoid(logits) >= 0.05).sum()) in (93, 94, 95)


def test_lively_model_is_the_same_every_time_and_leaves_randomness_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (
        lively_checkpoint("resnet18", 2, Canvas(64, 64), head_width=16) for _ in range(2)
    )
    assert torch.equal(torch.rand(1), expected)
    for key, value in first.state.items():
        assert torch.equal(value, second.state[key]), key
