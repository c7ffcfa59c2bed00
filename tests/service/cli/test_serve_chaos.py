"""`retinaserve serve --chaos` in a process of its own: a lost engine ends it with status 70."""

from __future__ import annotations

import json
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import httpx

from tests.service.fakes import picture
from tests.service.started import Started, started

PNG = picture()


def chaotic(bundle: Path, **settings: str) -> AbstractContextManager[Started]:
    command = ("retinaserve", "serve", "--chaos", "--port", "0", "--bundle", str(bundle))
    return started(*command, stderr=subprocess.PIPE, **settings)


def detect(url: str, mark: str) -> httpx.Response:
    headers = {"X-Retinaserve-Chaos": mark}
    return httpx.post(f"{url}/v1/detect", content=PNG, headers=headers, timeout=60)


def log_of(process: subprocess.Popen[str]) -> list[dict[str, str]]:
    _, stderr = process.communicate(timeout=60)
    return [json.loads(line) for line in stderr.splitlines()]


def test_a_lost_device_is_503_for_the_drain_delay_then_status_70(known_bundle):
    with chaotic(known_bundle, drain_delay_s="60") as (process, url):
        assert httpx.get(f"{url}/readyz").status_code == 200
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(detect, [url] * 3, ["sticky"] * 3))
        answers.append(httpx.get(f"{url}/readyz"))
        assert [answer.status_code for answer in answers] == [503] * 4
        assert {answer.json()["code"] for answer in answers} == {"engine_lost"}
        assert {answer.headers["connection"] for answer in answers} == {"close"}
        process.send_signal(signal.SIGTERM)  # does not wait for the rest of the delay
        lines = log_of(process)
    assert process.returncode == 70
    assert lines[0]["message"] == (
        "--chaos: whoever sends the header X-Retinaserve-Chaos breaks the engine"
    )
    assert [line["message"] for line in lines if line["level"] == "critical"] == [
        "chaos: the device is lost: this process serves no more and ends, to be started anew"
    ]


def test_an_engine_that_hangs_is_answered_for_and_holds_no_process(known_bundle):
    with chaotic(known_bundle, drain_delay_s="0", engine_timeout_s="0.5") as (process, url):
        answer = detect(url, "hang")
        assert (answer.status_code, answer.json()["code"]) == (503, "engine_lost")
        lines = log_of(process)
    assert process.returncode == 70
    assert [line["message"] for line in lines if line["level"] == "critical"] == [
        "the engine hangs: a run of 1 on 96x128 took over 0.5 s: this process serves no more and "
        "ends, to be started anew"
    ]
