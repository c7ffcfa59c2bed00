import pytest
from pydantic import ValidationError

from export.manifest import Thresholds
from service.detections import Options
from service.errors import Malformed
from service.options import DetectQuery
from tests.service.fakes import make_manifest

MANIFEST = make_manifest()


def test_without_parameters_the_manifest_decides():
    assert DetectQuery().options(MANIFEST) == Options(
        score_threshold=0.05,
        iou_threshold=0.5,
        max_detections=100,
        scale=128,
        classes=None,
        box_format="xyxy",
    )


def test_the_default_count_never_exceeds_the_cap():
    small = make_manifest(thresholds=Thresholds(max_detections=20))
    assert DetectQuery().options(small).max_detections == 20


def test_zero_is_a_threshold_not_a_missing_one():
    options = DetectQuery(score_threshold=0.0, iou_threshold=0.0).options(MANIFEST)
    assert (options.score_threshold, options.iou_threshold) == (0.0, 0.0)


@pytest.mark.parametrize("count", [0, -1, 301])
def test_max_detections_outside_the_cap_names_the_range(count):
    with pytest.raises(Malformed, match=f"max_detections is {count}; accepted is 1 to 300"):
        DetectQuery(max_detections=count).options(MANIFEST)


def test_an_unknown_scale_lists_the_bundles():
    assert DetectQuery(scale=64).options(MANIFEST).scale == 64
    with pytest.raises(Malformed, match="scale is 65; accepted are this bundle's: 64, 128"):
        DetectQuery(scale=65).options(MANIFEST)


@pytest.mark.parametrize(
    ("text", "indices"), [("RBC", {1}), ("0", {0}), (" WBC , 1", {2, 1}), ("2,2,WBC", {2})]
)
def test_classes_are_names_or_indices(text, indices):
    assert DetectQuery(classes=text).options(MANIFEST).classes == indices


@pytest.mark.parametrize("text", ["rbc", "3", "-1", "", "RBC,", "01", "9" * 5000, "²"])
def test_an_unknown_class_lists_the_classes(text):
    with pytest.raises(Malformed, match=r"Platelets \(0\), RBC \(1\), WBC \(2\)"):
        DetectQuery(classes=text).options(MANIFEST)


def test_a_class_whose_name_is_a_number_goes_by_name_first():
    manifest = make_manifest(classes=["1", "0"])
    assert DetectQuery(classes="1").options(manifest).classes == {0}


@pytest.mark.parametrize(
    "query",
    [
        {"score_threshold": 1.01},
        {"score_threshold": "nan"},
        {"iou_threshold": -0.1},
        {"timeout_ms": 0},
        {"timeout_ms": 60_001},
        {"timeout_ms": "1.5"},
        {"box_format": "cxcywh"},
        {"threshold": 0.5},
    ],
)
def test_values_out_of_range_are_refused(query):
    with pytest.raises(ValidationError):
        DetectQuery.model_validate(query)


@pytest.mark.parametrize(
    ("name", "text", "accepted"),
    [
        ("score_threshold", "nan", "numbers from 0 to 1"),
        ("timeout_ms", "60001", "whole numbers from 1 to 60000"),
        ("box_format", "yolo", "xyxy, xywh, normalized"),
        ("max_detections", "1e3", "whole numbers, from 1 to the bundle's cap, see /v1/models"),
        ("scale", "abc", "whole numbers, one of the bundle's scales, see /v1/models"),
    ],
)
def test_a_bad_parameter_is_told_with_what_is_accepted(name, text, accepted):
    with pytest.raises(Malformed, match=f"^{name} is '{text}': accepted are {accepted}$"):
        DetectQuery.parse({name: text})
