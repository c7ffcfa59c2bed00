from pathlib import Path

import pytest

from model.errors import InputError
from service.settings import packaged_bundle, read_settings
from service.telemetry.metrics import SECONDS


def test_defaults(monkeypatch):
    monkeypatch.delenv("RETINASERVE_PORT", raising=False)
    settings = read_settings()
    assert (settings.host, settings.port, settings.max_batch_size) == ("127.0.0.1", 8000, 2)
    assert settings.queue_limit >= 64
    assert settings.bundle == packaged_bundle()
    assert settings.bundle.parts[-3:] == ("service", "bundles", "cells")


def test_engine_is_chosen_and_runs_on_the_cpu_unless_said_otherwise():
    settings = read_settings()
    assert (settings.engine, settings.device, settings.torch_compile) == ("auto", "cpu", False)


def test_engine_device_and_scales_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("RETINASERVE_ENGINE", "torch")
    monkeypatch.setenv("RETINASERVE_DEVICE", "cuda:1")
    monkeypatch.setenv("RETINASERVE_SCALES", "320,480")
    settings = read_settings()
    assert (settings.engine, settings.device) == ("torch", "cuda:1")
    assert settings.checkpoint_scales == (320, 480)
    assert read_settings({"scales": ""}).checkpoint_scales == ()


def test_the_environment_is_read_and_an_argument_wins(monkeypatch):
    monkeypatch.setenv("RETINASERVE_PORT", "9001")
    monkeypatch.setenv("RETINASERVE_BUNDLE", "/somewhere")
    settings = read_settings({"port": 9002, "bundle": None})
    assert (settings.port, settings.bundle) == (9002, Path("/somewhere"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("port", "abc"),
        ("precision", "fp64"),
        ("engine", "openvino"),
        ("scales", "320,"),
        ("scales", "big"),
        ("max_batch_size", "0"),
        ("queue_limit", "0"),
        ("drain_delay_s", "-1"),
        ("body_timeout_s", "inf"),
        ("log_level", "loud"),
        ("max_connections", "0"),
        ("header_timeout_s", "0"),
        ("quota_images_per_s", "0"),
        ("log_lines_per_s", "-1"),
        ("latency_target_s", "60.1"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_it(monkeypatch, name, value):
    monkeypatch.setenv(f"RETINASERVE_{name.upper()}", value)
    with pytest.raises(InputError) as error:
        read_settings()
    text = str(error.value)
    assert text.startswith(f"setting {name} (or RETINASERVE_{name.upper()}) is '{value}': ")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("port", "70000", "whole numbers from 0 to 65535"),
        ("scales", "big", "shorter sides in pixels, comma separated, such as 320,480"),
        ("keep_alive_s", "inf", "finite numbers above 0"),
        ("log_level", "loud", "debug, info, warning, error"),
        ("chaos", "perhaps", "true and false"),
    ],
)
def test_a_bad_value_is_told_with_what_is_accepted(name, value, accepted):
    with pytest.raises(InputError, match=f": accepted are {accepted}$"):
        read_settings({name: value})


def test_the_longest_latency_target_is_one_that_a_percentile_can_pass():
    assert read_settings({"latency_target_s": 60}).latency_target_s == 60.0
    assert SECONDS[-1] > 60.0


def test_the_api_key_does_not_show_in_an_error_or_a_dump(monkeypatch):
    monkeypatch.setenv("RETINASERVE_API_KEY", "s3cret")
    assert "s3cret" not in repr(read_settings())
