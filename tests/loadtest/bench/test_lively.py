from __future__ import annotations

import torch

from loadtest.bench.lively import lively_checkpoint
from model.anchors import anchors_of_canvas
from model.letterbox import Canvas
from model.normalise import normalise
from model.postprocess import candidates_of, detections_of
from model.synthetic.scene import draw_scene


def test_lively_model_gives_nms_as_much_to_do_as_a_trained_one() -> None:
    canvas = Canvas(256, 320)
    checkpoint = lively_checkpoint("resnet18", 5, canvas, head_width=16)
    scenes = [torch.from_numpy(draw_scene(seed, (256, 320)).image) for seed in range(4)]
    sizes = torch.tensor([[256, 320]] * 4)
    pixels = normalise(torch.stack(scenes), sizes, checkpoint.mean, checkpoint.std)
    with torch.no_grad():
        predictions = checkpoint.build()(pixels)
    # 1,000 pairs on 800x1088 are 94 on 256x320; in the four scenes together the last of them lies
    # on the threshold.
    logits = torch.cat([level.flatten() for level in predictions.logits])
    assert int((torch.sigmoid(logits) >= 0.05).sum()) in (375, 376, 377)
    # Their boxes lie in the picture, and about half of them are suppressed; with deltas of the size
    # that random weights give, next to nothing is left.
    anchors = anchors_of_canvas(canvas, checkpoint.architecture.anchors)
    candidates = sum(
        len(level.boxes)
        for image in candidates_of(predictions, anchors, sizes, 0.05, 1000)
        for level in image
    )
    kept = sum(len(one.boxes) for one in detections_of(predictions, anchors, sizes))
    assert candidates > 340
    assert 0.3 * candidates < kept < 0.6 * candidates


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
