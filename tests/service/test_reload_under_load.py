"""Ten swaps and bad bundles between them while requests come without a pause: none fails."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.service.bundles import (
    as_version,
    tampered,
    with_golden,
    with_record,
    write_known_bundle,
)
from tests.service.fakes import picture
from tests.service.started import started

SWAPS = 10
CALLERS = 4


@contextmanager
def serve(bundle: Path, log: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """(process, URL, URL of the admin port) of `retinaserve serve`, ready."""
    command = ("retinaserve", "serve", "--bundle", str(bundle))
    settings = {"port": 0, "admin_port": 0, "max_batch_size": 2, "engine_threads": 1}
    with log.open("w") as lines, started(*command, stderr=lines, **settings) as (process, url):
        admin = re.search(r"admin port: (http://[^\s\"]+)", log.read_text())
        assert admin is not None
        yield process, url, admin[1]


class Load:
    """Callers that ask again as soon as they are answered; counts what they got."""

    def __init__(self, url: str) -> None:
        self.answers: Counter[tuple[int, str]] = Counter()
        self.unready = 0
        self._url = url
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        png = picture()
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._end.is_set():
                answer = client.post("/v1/detect", content=png)
                found = answer.json()
                self.answers[answer.status_code, found.get("model", {}).get("version")] += 1
                self.unready += client.get("/readyz").status_code != 200


@pytest.mark.slow
def test_no_request_fails_over_ten_swaps_and_bad_bundles(tiny_bundle, tmp_path):
    new = [
        tiny_bundle.folder,
        as_version(tiny_bundle, tmp_path / "other", "2"),
    ]
    bad = [
        tampered(tiny_bundle, tmp_path / "tampered"),
        with_golden(tiny_bundle, tmp_path / "no-record"),
        tmp_path / "nowhere",
    ]
    with serve(tiny_bundle.folder, tmp_path / "log") as (_, url, admin):
        results: Counter[int] = Counter()
        with Load(url) as load, httpx.Client(base_url=admin, timeout=120) as operator:
            for number in range(SWAPS):
                for folder in (bad[number % 3], new[(number + 1) % 2]):
                    answer = operator.post("/admin/reload", json={"bundle": str(folder)})
                    results[answer.status_code] += 1
        assert results == {200: SWAPS, 409: SWAPS}
        assert set(load.answers) == {(200, "1"), (200, "2")}
        assert load.unready == 0
        samples = {
            (sample.name, tuple(sorted(sample.labels.values()))): sample.value
            for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
            for sample in family.samples
        }
        answered = sum(load.answers.values())
        assert samples["retinaserve_requests_received_total", ("/v1/detect",)] == answered
        assert samples["retinaserve_requests_total", ("/v1/detect", "ok")] == answered
        assert samples["retinaserve_images_total", ("ok",)] == answered
        assert samples["retinaserve_unseen_shapes_total", ()] == 0
        assert samples["retinaserve_reloads_total", ("ok",)] == SWAPS
        assert samples["retinaserve_reloads_total", ("refused",)] == SWAPS
        assert [key for key in samples if key[0] == "retinaserve_model_info"] == [
            ("retinaserve_model_info", tuple(sorted(("tiny", "1", "fp32", engine_of(url)))))
        ]


def test_sighup_takes_what_was_put_in_place_and_both_listeners_end(tmp_path):
    known = with_record(write_known_bundle(tmp_path / "known"))
    bundle = Path(shutil.copytree(known.folder, tmp_path / "served"))
    newer = as_version(known, tmp_path / "newer", "4")
    with serve(bundle, tmp_path / "log") as (process, url, admin):
        shutil.rmtree(bundle)
        newer.rename(bundle)
        with Load(url) as load:
            process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 60
            while version_of(url) != "4":
                assert time.monotonic() < deadline
        assert {status for status, _ in load.answers} == {200}
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        for gone in (url, admin):
            with pytest.raises(httpx.ConnectError):
                httpx.get(gone)


def engine_of(url: str) -> str:
    return str(httpx.get(f"{url}/v1/models").json()["models"][0]["engine"])


def version_of(url: str) -> str:
    return str(httpx.get(f"{url}/v1/models").json()["models"][0]["version"])
