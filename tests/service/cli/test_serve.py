from __future__ import annotations

import argparse
import signal
import socket
from collections.abc import Iterator

import pytest

from model.errors import InputError
from service.cli import serve
from tests.service.fakes import make_manifest


@pytest.fixture(autouse=True)
def _sighup() -> Iterator[None]:
    """The command leaves it ignored, since its process is to end."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    return parser.parse_args(words)


def test_help_has_an_example_and_names_every_option():
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    text = parser.format_help()
    assert "retinaserve serve --port 8000" in text
    for name in serve.OPTIONS:
        assert "--" + name.replace("_", "-") in text


def test_the_options_are_all_settings():
    args = parse()
    assert sorted(vars(args)) == sorted(serve.OPTIONS)
    assert set(vars(args).values()) == {None}


def test_a_missing_bundle_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no bundle here"):
        serve.run(parse("--bundle", str(tmp_path), "--port", "0"))


def test_a_bad_setting_is_an_input_error():
    with pytest.raises(InputError, match="setting precision"):
        serve.run(parse("--precision", "fp64"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--engine", "openvino"), "setting engine"),
        (("--engine", "torch"), "engine torch opens the file of a checkpoint, not a bundle"),
        (("--engine", "tensorrt"), "engine tensorrt needs a GPU: give --device cuda:0"),
        (("--device", "gpu"), "device 'gpu': accepted are cpu, cuda and cuda:N"),
        (("--precision", "bf16"), "'known' has no bf16 cpu graph; it holds int8 cpu, fp32 cpu"),
        (("--scales", "320"), "scales: accepted with a checkpoint of engine torch"),
    ],
)
def test_what_no_engine_can_do_is_an_input_error(known_bundle, words, sentence):
    with pytest.raises(InputError, match=sentence):
        serve.run(parse("--bundle", str(known_bundle), "--port", "0", *words))


def test_a_gpu_that_is_not_there_is_an_input_error(known_bundle, monkeypatch):
    monkeypatch.setattr("export.engines.device.gpu_count", lambda: 0)
    with pytest.raises(InputError, match="device cuda:0: CUDA shows no GPU here"):
        serve.run(parse("--bundle", str(known_bundle), "--port", "0", "--device", "cuda:0"))


def test_a_port_in_use_is_an_input_error(known_bundle):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(InputError, match=f"port {port}: the port is in use"):
            serve.run(parse("--bundle", str(known_bundle), "--port", port))


def test_the_welcome_says_what_is_served_where_and_how_to_call_it():
    assert serve.welcome("http://127.0.0.1:8000", make_manifest(), "int8") == (
        "retinaserve: cells 1 (int8; canvases 64x96, 128x160, 160x128) is ready on "
        "http://127.0.0.1:8000; try: curl --data-binary @cell.jpg http://127.0.0.1:8000/v1/detect"
    )
