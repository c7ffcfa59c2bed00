"""Debian's Prometheus with the rules of docker/prometheus, and names of metrics in its language."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "docker" / "prometheus"
DASHBOARD = ROOT / "docker" / "grafana" / "dashboards" / "retinaserve.json"

INTERVAL_S = 1
PATIENCE_S = 120.0


def installed(program: str) -> str:
    """The path of prometheus or promtool; skips the test where it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed: apt-get install prometheus")
    return path


def rules() -> list[dict[str, Any]]:
    """All recording and alert rules."""
    files = [
        yaml.safe_load((CONFIG / name).read_text()) for name in ("recording.yml", "alerts.yml")
    ]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def metrics_in(expr: str) -> set[str]:
    """Names of our metrics, of recorded series and of the process in an expression."""
    without_values = re.sub(r'"[^"]*"', '""', expr)
    return set(
        re.findall(r"\b(?:job:retinaserve|retinaserve|process)_\w+(?::\w+)?", without_values)
    )


class Prometheus:
    """A running server; `url` is its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The vector that an expression is now. Raises AssertionError where it is wrong."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expr}, timeout=30.0).json()
        assert answer["status"] == "success", f"{expr}: {answer}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def numbers(self, expr: str) -> list[float]:
        """The values of an expression that are numbers."""
        values = [float(sample["value"][1]) for sample in self.query(expr)]
        return [value for value in values if not math.isnan(value)]

    def wait_for(self, exprs: Sequence[str], patience_s: float = PATIENCE_S) -> list[str]:
        """Those expressions that have no data within that time."""
        end = time.monotonic() + patience_s
        while missing := [expr for expr in exprs if not self.numbers(expr)]:
            if time.monotonic() > end:
                break
            time.sleep(INTERVAL_S)
        return missing


@contextmanager
def scraping(targets: Sequence[str], folder: Path) -> Iterator[Prometheus]:
    """A Prometheus with our configuration but these targets, each second; its data in `folder`."""
    config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
    config["global"] = {
        "scrape_interval": f"{INTERVAL_S}s",
        "evaluation_interval": f"{INTERVAL_S}s",
    }
    config["rule_files"] = [str(CONFIG / name) for name in config["rule_files"]]
    (job,) = config["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": list(targets)}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        installed("prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        "--web.listen-address=127.0.0.1:0",
        "--log.level=info",
    ]
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(command, stderr=out)
    try:
        yield Prometheus(_url(process, log))
    finally:
        process.terminate()
        process.wait()


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it listens, once it says that it is ready for requests."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        said = log.read_text()
        address = re.search(r'msg="Listening on" address=(\S+)', said)
        if address and "Server is ready to receive web requests" in said:
            return f"http://{address[1]}"
        time.sleep(0.1)
    raise AssertionError(f"Prometheus did not start: {log.read_text()}")
