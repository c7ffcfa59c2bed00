"""Detections of a model on a data set, boxes back in image pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from model.anchors import anchors_of_canvas
from model.boxes import encode_boxes
from model.checkpoint import Checkpoint
from model.data.coco import read_coco
from model.data.drawn import drawn_scenes
from model.data.records import Record
from model.errors import InputError
from model.evaluation.coco_metrics import coco_metrics
from model.evaluation.run import detect_records
from model.letterbox import Canvas, canvases_of_scale, letterbox
from model.retinanet import Architecture, Predictions, RetinaNet, build_retinanet
from tests.tiny import make_tiny_checkpoint

NONE = np.zeros((0, 4), np.float32)


class Oracle(nn.Module):
    """Predicts given canvas boxes, whatever the image: one anchor of P3 each."""

    def __init__(self, boxes: Tensor, classes: list[int], num_classes: int) -> None:
        super().__init__()
        self.architecture = Architecture(num_classes, "mobilenet_v2")
        self.boxes, self.classes = boxes, classes

    def forward(self, images: Tensor) -> Predictions:
        anchors = anchors_of_canvas((images.shape[2], images.shape[3]))
        logits = [torch.full((1, len(a), self.architecture.num_classes), -20.0) for a in anchors]
        deltas = [torch.zeros(1, len(a), 4) for a in anchors]
        for row, (box, index) in enumerate(zip(self.boxes, self.classes, strict=True)):
            logits[0][0, row, index] = 5.0
            deltas[0][0, row] = encode_boxes(box, anchors[0][row])
        return Predictions(logits, deltas)


def oracle(boxes: Tensor, classes: list[int], num_classes: int) -> Checkpoint:
    model = Oracle(boxes, classes, num_classes)

    class OracleCheckpoint(Checkpoint):
        def build(self) -> RetinaNet:
            return model  # type: ignore[return-value]

    names = tuple(str(index) for index in range(num_classes))
    return OracleCheckpoint(model.architecture, names, {})


def test_boxes_come_back_in_image_pixels(tmp_path: Path) -> None:
    Image.new("RGB", (200, 150)).save(tmp_path / "a.png")
    record = Record(8, tmp_path / "a.png", (150, 200), NONE, np.zeros(0, np.int64), NONE)
    # Shorter side 150 becomes 96: 128 x 96 on the canvas, factor .64.
    checkpoint = oracle(torch.tensor([[32.0, 16.0, 64.0, 48.0]]), [1], 2)
    found = detect_records(checkpoint, [record], 96, [Canvas(96, 128)])
    assert list(found) == [8]
    assert found[8].boxes[0].tolist() == pytest.approx([50.0, 25.0, 100.0, 75.0], abs=1e-3)
    assert found[8].classes.tolist() == [1]


def test_perfect_predictions_on_a_data_set_have_ap_one(drawn: Path) -> None:
    data = read_coco(drawn / "annotations.json", drawn / "images")
    found = {}
    for record in data.records:
        place = letterbox(record.size, 240, canvases_of_scale(240))
        boxes = torch.from_numpy(place.boxes_to_canvas(record.boxes))
        checkpoint = oracle(boxes, record.classes.tolist(), len(data.classes))
        found.update(detect_records(checkpoint, [record], 240))
    assert coco_metrics(data.coco, data.classes, found)["AP50"] == pytest.approx(1.0, abs=0.02)


def test_untrained_network_runs_in_bfloat16_and_keeps_float32_boxes(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    record = Record(1, tmp_path / "a.png", (64, 64), NONE, np.zeros(0, np.int64), NONE)
    model = build_retinanet(2, "mobilenet_v2", head_width=8, head_depth=1, prior=0.5)
    checkpoint = Checkpoint(model.architecture, ("a", "b"), model.state_dict())
    found = detect_records(checkpoint, [record], 64, autocast=True)[1]
    assert found.boxes.dtype == np.float32
    assert len(found.boxes) > 0
    assert (found.boxes >= 0).all()
    assert (found.boxes <= 64).all()


def test_images_are_normalised_as_the_checkpoint_says(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (51, 51, 51)).save(tmp_path / "a.png")
    record = Record(1, tmp_path / "a.png", (64, 64), NONE, np.zeros(0, np.int64), NONE)
    seen: list[float] = []
    checkpoint = oracle(torch.zeros(0, 4), [], 1)
    checkpoint.mean, checkpoint.std = (0.1, 0.1, 0.1), (0.5, 0.5, 0.5)
    checkpoint.build().register_forward_pre_hook(
        lambda module, args: seen.append(args[0][0, 0, 0, 0].item())
    )
    detect_records(checkpoint, [record], 64)
    assert seen == [pytest.approx((0.2 - 0.1) / 0.5)]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Nine scenes of three sizes, taking turns."""
    sizes = [(96, 128), (128, 96), (80, 80)]
    drawn = [drawn_scenes(3, seed, size).records for seed, size in enumerate(sizes)]
    records = [record for trio in zip(*drawn, strict=True) for record in trio]
    return [replace(record, image_id=number) for number, record in enumerate(records)]


CANVASES = [Canvas(64, 96), Canvas(96, 64), Canvas(64, 64)]


def test_detections_do_not_depend_on_batch_mates(mixed: list[Record]) -> None:
    checkpoint = make_tiny_checkpoint()
    alone = detect_records(checkpoint, mixed, 64, CANVASES, batch_size=1)
    together = detect_records(checkpoint, mixed[::-1], 64, CANVASES, batch_size=4)
    assert sum(len(found.boxes) for found in alone.values()) > 300
    assert sorted(alone) == sorted(together)
    for image_id, found in alone.items():
        other = together[image_id]
        assert other.classes.tolist() == found.classes.tolist()
        # The bounds that an exported graph is held to.
        np.testing.assert_allclose(other.boxes, found.boxes, atol=1e-3)
        np.testing.assert_allclose(other.scores, found.scores, atol=1e-5)


def test_shares_of_processes_add_up_to_the_whole(mixed: list[Record]) -> None:
    checkpoint = make_tiny_checkpoint()
    whole = detect_records(checkpoint, mixed, 64, CANVASES, batch_size=1)
    shares = [
        detect_records(checkpoint, mixed[rank::2], 64, CANVASES, batch_size=1) for rank in (0, 1)
    ]
    assert not shares[0].keys() & shares[1].keys()
    union = shares[0] | shares[1]
    assert union.keys() == whole.keys()
    for image_id, found in whole.items():
        for ours, theirs in zip(found, union[image_id], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_progress_adds_up(mixed: list[Record]) -> None:
    told: list[int] = []
    detect_records(make_tiny_checkpoint(), mixed, 64, CANVASES, batch_size=2, progress=told.append)
    assert told == [2, 1, 2, 1, 2, 1]


def test_picture_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    record = Record(1, tmp_path / "broken.png", (64, 64), NONE, np.zeros(0, np.int64), NONE)
    with pytest.raises(InputError, match=r"broken.png: not a picture"):
        detect_records(make_tiny_checkpoint(), [record], 64)
