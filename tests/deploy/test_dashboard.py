"""Every panel of the dashboard shows data: a real server under load, a real Prometheus."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import yaml

from loadtest.servers import Server
from service.settings import PREFIX, Settings
from tests.deploy.prometheus import ROOT, dashboard, metrics_in, rules, scraping
from tests.deploy.served_names import served_families, served_names
from tests.service.fakes import picture

PROVISIONING = ROOT / "docker" / "grafana" / "provisioning"
PANELS = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
TITLES = [panel["title"] for panel in PANELS]


def exprs() -> list[str]:
    """What panels, variables and annotations ask for."""
    board = dashboard()
    variables = [v["query"]["query"] for v in board["templating"]["list"] if v["type"] == "query"]
    annotations = [annotation["expr"] for annotation in board["annotations"]["list"]]
    panels = [target["expr"] for panel in PANELS for target in panel["targets"]]
    return panels + variables + annotations


def filled(expr: str) -> str:
    """An expression with what Grafana puts in for its variables when all is selected."""
    for name in ("namespace", "job", "instance"):
        expr = expr.replace(f"${name}", ".*")
    return expr.replace("$__rate_interval", "30s")


def test_panels_ask_for_what_the_service_or_a_recording_rule_gives():
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert {name for expr in exprs() for name in metrics_in(expr)} - recorded <= served_names()


def test_every_metric_of_the_service_is_on_the_dashboard():
    shown = {name for expr in exprs() for name in metrics_in(expr)}
    ours = {family: names for family, names in served_families().items() if "retina" in family}
    assert len(ours) > 20
    assert [family for family, names in ours.items() if not names & shown] == []


def test_every_query_heeds_the_chosen_job_and_asks_the_chosen_data_source():
    for panel in PANELS:
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            asked = target["expr"].replace('ALERTS{alertname=~"Retinaserve.*"', '$job"')
            assert '$job"' in asked, panel["title"]


def test_panels_lie_beside_each_other():
    assert len(set(TITLES)) == len(TITLES)
    board = dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    cells = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        own = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]),
                range(place["y"], place["y"] + place["h"]),
            )
        )
        assert not own & cells, panel["title"]
        cells |= own


def test_the_file_is_as_json_writes_it():
    file = ROOT / "docker" / "grafana" / "dashboards" / "retinaserve.json"
    assert file.read_text() == json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def test_grafana_finds_the_dashboard_and_its_data():
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    mounts = dict(mount.split(":")[:2] for mount in compose["grafana"]["volumes"])
    folders = {inside: outside for outside, inside in mounts.items()}
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards/retinaserve.yaml").read_text())[
        "providers"
    ]
    assert folders[provider["options"]["path"]] == "./grafana/dashboards"
    assert folders["/etc/grafana/provisioning"] == "./grafana/provisioning"
    (source,) = yaml.safe_load((PROVISIONING / "datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    config = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_panels_and_settings_that_the_runbook_names_exist():
    text = (ROOT / "docs" / "runbook.md").read_text()
    named = {" ".join(name.split()) for name in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text)}
    assert len(named) > 10
    assert named - set(TITLES) == set()
    settings = set(re.findall(rf"{PREFIX}([A-Z_]+)", text))
    assert {name.lower() for name in settings} - set(Settings.model_fields) == set()


@contextmanager
def asked(server: Server, other: Server) -> Iterator[None]:
    """Has servers asked without end: pictures of two sizes, a broken one, one that breaks a run."""
    over = threading.Event()
    small, large = picture(96, 64, "JPEG"), picture(640, 480, "JPEG")
    turns = [(small, {}), (large, {}), (b"junk", {}), (small, {"X-Retinaserve-Chaos": "fail"})]

    def ask() -> None:
        with httpx.Client(timeout=30.0) as client:
            for body, headers in itertools.cycle(turns):
                if over.is_set():
                    return
                client.post(server.detect_url, content=body, headers=headers)
                client.post(other.detect_url, content=small)

    caller = threading.Thread(target=ask)
    caller.start()
    try:
        yield
    finally:
        over.set()
        caller.join()


@pytest.mark.slow
def test_every_panel_shows_data_of_servers_under_load(tmp_path):
    nobody = "127.0.0.1:1"
    with (
        Server("--chaos") as server,
        Server(module="tests.deploy.gpu_server") as other,
        asked(server, other),
        scraping([server.url.split("//")[1], other.url.split("//")[1], nobody], tmp_path) as seen,
    ):
        queries = {
            panel["title"]: [filled(t["expr"]) for t in panel["targets"]] for panel in PANELS
        }
        missing = seen.wait_for([expr for several in queries.values() for expr in several])
        assert [title for title, several in queries.items() if set(several) & set(missing)] == []
        firing = 'ALERTS{alertname="RetinaserveEngineFaults", alertstate="firing"}'
        down = f'ALERTS{{alertname="RetinaserveDown", instance="{nobody}", alertstate="pending"}}'
        assert seen.wait_for([firing, down]) == []
        assert seen.numbers("sum(retinaserve_ready)") == [2.0]
        # Boxes, labels and all: what a panel's legend is made of is there.
        for panel in PANELS:
            for target in panel["targets"]:
                for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                    assert all(label in s["metric"] for s in seen.query(filled(target["expr"])))
