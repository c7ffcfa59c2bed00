"""Every alert fires when it should and is silent when it should, and leads to its page."""

from __future__ import annotations

import re
import subprocess
from functools import cache

import pytest
import yaml

from tests.deploy.prometheus import CONFIG, ROOT, installed, metrics_in, rules
from tests.deploy.served_names import served_names

CASES = sorted((ROOT / "tests" / "deploy" / "rules").glob("*.yml"))
RUNBOOK = ROOT / "docs" / "runbook.md"
MONITORING = ROOT / "docs" / "monitoring.md"
ALERTS = [rule for rule in rules() if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_the_cases_of_the_rules_hold(file):
    checked = subprocess.run(
        [installed("promtool"), "test", "rules", str(file)], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_prometheus_takes_the_configuration():
    checked = subprocess.run(
        [installed("promtool"), "check", "config", str(CONFIG / "prometheus.yml")],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@cache
def expected() -> dict[str, set[bool]]:
    """For each alert, whether there are cases in which it fires, and in which it does not."""
    found: dict[str, set[bool]] = {}
    for file in CASES:
        for case in yaml.safe_load(file.read_text())["tests"]:
            for check in case.get("alert_rule_test", []):
                found.setdefault(check["alertname"], set()).add(bool(check["exp_alerts"]))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_case_that_fires_it_and_one_that_does_not(name):
    assert expected()[name] == {True, False}


def test_every_alert_of_the_error_budget_has_a_case_for_each_window():
    text = "".join(file.read_text() for file in CASES)
    windows = {rule["labels"]["window"] for rule in ALERTS if "window" in rule["labels"]}
    assert windows == {"1h", "6h", "1d", "3d"}
    for window in windows:
        assert f"window: {window}}}" in text


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_ask_for_what_the_service_or_a_recording_rule_gives(rule):
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = metrics_in(rule["expr"])
    assert used - recorded <= served_names()
    assert used or "up{" in rule["expr"]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_how_urgent_it_is_and_where_to_read_on(rule):
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_the_runbook_has_a_heading_for_every_alert_and_no_other():
    assert sorted(re.findall(r"^### (Retinaserve\w+)$", RUNBOOK.read_text(), re.M)) == NAMES


def test_the_page_on_monitoring_lists_every_alert_and_counts_the_rules():
    text = MONITORING.read_text()
    table = text.split("| alert | when | |\n")[1].split("\n\n")[0]
    assert sorted(re.findall(r"`(Retinaserve\w+)`", table)) == NAMES
    assert f"| {len(ALERTS)} rules, none firing |" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_runbook_says_what_it_means_what_to_look_at_and_what_to_do(name):
    section = re.split(r"^##", RUNBOOK.read_text().split(f"### {name}\n")[1], flags=re.M)[0]
    assert [part for part in ("**Means:**", "**Look:**", "**Do:**") if part not in section] == []


def test_what_the_runbook_asks_prometheus_for_is_there():
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert metrics_in(RUNBOOK.read_text()) - recorded <= served_names()
