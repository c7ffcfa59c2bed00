"""What docker/compose.yaml promises, without an engine that runs it."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from retinaserve import VERBS
from service.settings import PREFIX, Settings
from tests.deploy.prometheus import ROOT
from tests.deploy.tools import tool

FILE = ROOT / "docker" / "compose.yaml"
GPU_FILE = ROOT / "docker" / "compose.gpu.yaml"
GUIDE = ROOT / "docs" / "deploy.md"
COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES = COMPOSE["services"]


def seconds(text: str) -> float:
    """What a duration of only seconds says."""
    found = re.fullmatch(r"(\d+)s", text)
    assert found, text
    return float(found[1])


def default(text: str) -> str:
    """A value with the defaults of its variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def mounts(service: str) -> dict[str, tuple[str, bool]]:
    """What is mounted where: (source, whether for reading only)."""
    found = {}
    for volume in SERVICES[service].get("volumes", []):
        if isinstance(volume, dict):
            found[volume["target"]] = (default(volume["source"]), volume.get("read_only", False))
        else:
            source, target, *mode = volume.split(":")
            found[target] = (source, mode == ["ro"])
    return found


@pytest.mark.parametrize("file", [FILE, GPU_FILE], ids=lambda file: file.name)
def test_the_file_is_as_the_compose_specification_says(file):
    done = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_mounted_is_there_and_stays_as_it_is(service):
    for source, read_only in mounts(service).values():
        if "/" in source:
            assert (FILE.parent / source).is_dir(), source
            assert read_only, source
        else:
            assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_privileges_and_no_port_for_other_machines(service):
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]
    ports = SERVICES[service].get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("service", SERVICES)
def test_images_are_built_here_or_pinned(service):
    image, build = SERVICES[service]["image"], SERVICES[service].get("build")
    if build is None:
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", image)
    else:
        assert (FILE.parent / build["context"] / "Dockerfile").is_file()
        stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
        assert build["target"] in stages
        assert image == f"retinaserve:{build['target']}"


def test_the_service_has_time_to_drain():
    settings = Settings.model_fields
    drain = settings["drain_delay_s"].default + settings["drain_timeout_s"].default
    assert seconds(SERVICES["retinaserve"]["stop_grace_period"]) > drain
    given = SERVICES["retinaserve"]["environment"]
    assert not {f"{PREFIX}DRAIN_DELAY_S", f"{PREFIX}DRAIN_TIMEOUT_S"} & given.keys()


def test_every_variable_is_a_setting_and_the_bundle_is_the_one_that_is_mounted():
    environment = SERVICES["retinaserve"]["environment"]
    names = {name.removeprefix(PREFIX).lower() for name in environment}
    assert names - set(Settings.model_fields) == set()
    source, _ = mounts("retinaserve")[environment["RETINASERVE_BUNDLE"]]
    assert (FILE.parent / source / "manifest.json").is_file()


def test_prometheus_asks_the_service_at_the_port_where_it_listens():
    config = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert "retinaserve" in job["job_name"]
    (discovery,) = job["dns_sd_configs"]
    assert discovery["names"] == ["retinaserve"]
    assert discovery["port"] == Settings.model_fields["port"].default
    assert default(SERVICES["retinaserve"]["ports"][0]) == f"127.0.0.1:8000:{discovery['port']}"


def test_prometheus_reads_the_rules_and_keeps_what_the_slowest_alert_looks_at():
    command = SERVICES["prometheus"]["command"]
    given = dict(argument.split("=", 1) for argument in command)
    source, _ = mounts("prometheus")[str(Path(given["--config.file"]).parent)]
    folder = FILE.parent / source
    config = yaml.safe_load((folder / Path(given["--config.file"]).name).read_text())
    assert all((folder / name).is_file() for name in config["rule_files"])
    assert mounts("prometheus")[given["--storage.tsdb.path"]] == ("prometheus", False)
    windows = re.findall(r"\[(\d+)d\]", (folder / "recording.yml").read_text())
    assert max(map(int, windows)) < int(given["--storage.tsdb.retention.time"].removesuffix("d"))


def test_on_a_gpu_plans_are_kept_where_the_image_writes_them():
    added = yaml.safe_load(GPU_FILE.read_text())
    service = added["services"]["retinaserve"]
    image = (ROOT / "Dockerfile").read_text().split("FROM cuda AS gpu\n")[1].split("\nFROM ")[0]
    assert service["build"]["target"] == "gpu"
    assert service["image"] == "retinaserve:gpu"
    assert "RETINASERVE_PLANS=/plans" in image
    assert "plans:/plans" in service["volumes"]
    assert added["volumes"].keys() == {"plans"}
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    names = {name.removeprefix(PREFIX).lower() for name in service["environment"]}
    assert names - set(Settings.model_fields) == set()


def test_on_a_gpu_there_is_a_tmp_for_scratch_files_beside_a_root_that_is_read_only():
    assert SERVICES["retinaserve"]["read_only"] is True
    assert yaml.safe_load(GPU_FILE.read_text())["services"]["retinaserve"]["tmpfs"] == ["/tmp"]


def test_what_the_guide_runs_in_a_container_is_a_command_with_these_options():
    text = re.sub(r" \\\n +", " ", GUIDE.read_text())
    commands = re.findall(r"^    docker .* (?:loadtest|retinaserve\S*) ([a-z]+ .*)$", text, re.M)
    assert {command.split()[0] for command in commands} == {"draw", "export", "loadtest"}
    for command in commands:
        name, *arguments = shlex.split(command)
        parser = argparse.ArgumentParser(exit_on_error=False)
        importlib.import_module(VERBS[name].module).configure(parser)
        parser.parse_args(arguments)


def test_every_compose_command_of_the_guide_has_the_files_and_the_bundle_that_it_exports():
    # With other files, or without the bundle, compose would make the service anew: another image.
    text = re.sub(r" \\\n +", " ", GUIDE.read_text())
    commands = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    exported = [line for line in commands if "COMPOSE_FILE=" in line]
    assert exported[0] == (
        "export BUNDLE=$PWD/bundles/mine COMPOSE_FILE=docker/compose.yaml:docker/compose.gpu.yaml"
    )
    assert exported[1:] == ["export COMPOSE_FILE=docker/compose.yaml"]  # the same on a CPU
    uses = [line for line in commands if re.search("docker compose (?!version)", line)]
    assert len(uses) >= 3
    assert commands.index(exported[-1]) < commands.index(uses[0])
    assert [line for line in uses if not line.startswith("docker compose ")] == []
    assert re.findall(r"docker compose\s[^`\n]*(?:--file|-f)\b.*", text) == []


def test_grafana_shows_the_dashboard_at_once():
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    source, _ = mounts("grafana")[str(home.parent)]
    assert json.loads((FILE.parent / source / home.name).read_text())["uid"] == "retinaserve"


def test_the_load_test_runs_when_asked_for_and_takes_its_arguments():
    from loadtest.cli.loadtest import configure

    service = SERVICES["loadtest"]
    assert service["profiles"] == ["load"]
    verb, *arguments = service["command"]
    assert verb == "loadtest"
    parser = argparse.ArgumentParser()
    configure(parser)
    args = parser.parse_args(arguments)
    assert args.urls == ["http://retinaserve:8000"]
    assert (args.rate, args.seconds) == (5.0, 600.0)
