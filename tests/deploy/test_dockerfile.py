"""What holds of the Dockerfile without an engine that builds it; docker/smoke.sh has one."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.deploy.tools import tool

ROOT = Path(__file__).parents[2]
SERVING = ("cpu", "gpu")
TARGETS = (*SERVING, "train", "export", "loadtest")

Stage = list[tuple[str, str]]
"""The instructions of one stage after its FROM: (word, the rest)."""


def read_dockerfile() -> tuple[dict[str, str], dict[str, str], dict[str, Stage]]:
    """The arguments before the first FROM, and of each stage its base and its instructions."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    arguments: dict[str, str] = {}
    bases: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in text.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            bases[name] = base
            stage = stages[name] = []
        elif stage is not None and word:
            stage.append((word, rest.strip()))
        elif word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
    return arguments, bases, stages


ARGUMENTS, BASES, STAGES = read_dockerfile()


def last(target: str, word: str) -> str | None:
    """What an image has of an instruction that overrides itself, also from the stages below."""
    while target in STAGES:
        for found, rest in reversed(STAGES[target]):
            if found == word:
                return rest
        target = BASES[target]
    return None


def variables(target: str) -> dict[str, str]:
    """The ENV of a target's own stage."""
    lines = [rest for word, rest in STAGES[target] if word == "ENV"]
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def test_hadolint_has_nothing_to_say():
    done = subprocess.run(
        [tool("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_shellcheck_has_nothing_to_say():
    scripts = ["docker/smoke.sh", *(str(path) for path in (ROOT / ".ci").iterdir())]
    done = subprocess.run(
        [tool("shellcheck"), *scripts], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_base_images_are_arguments_and_pinned():
    outside = {base for base in BASES.values() if base not in STAGES}
    assert outside == {"${DEBIAN}", "${CUDA}"}
    assert re.fullmatch(r"debian:bookworm-\d{8}-slim@sha256:[0-9a-f]{64}", ARGUMENTS["DEBIAN"])
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-cudnn-runtime-\S+", ARGUMENTS["CUDA"])


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_the_command_itself_as_a_numbered_user_who_is_not_root(target):
    assert json.loads(last(target, "ENTRYPOINT") or "") == ["retinaserve"]
    assert isinstance(json.loads(last(target, "CMD") or ""), list)
    user, group = (last(target, "USER") or "").split(":")
    assert int(user) > 0
    assert int(group) > 0


@pytest.mark.parametrize("target", SERVING)
def test_a_serving_image_is_stopped_by_sigterm_and_asked_whether_it_is_ready(target):
    assert last(target, "STOPSIGNAL") == "SIGTERM"
    assert (last(target, "HEALTHCHECK") or "").endswith('CMD ["healthcheck"]')
    assert ("COPY", "docker/healthcheck.py /usr/local/bin/healthcheck") in STAGES[target]
    assert variables(target)["RETINASERVE_HOST"] == "0.0.0.0"


@pytest.mark.parametrize("target", [*SERVING, "train"])
def test_onnx_runtime_does_not_call_home(target):
    assert variables(target)["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize("target", SERVING)
def test_packages_lie_below_the_code_and_that_below_its_commit(target):
    copied = [rest for word, rest in STAGES[target] if word == "COPY"]
    assert re.search(r"--from=\S+-packages ", copied[0])
    assert re.search(r"--from=\S*code ", copied[-2])
    assert copied[-1] == "--from=commit /commit /opt/retinaserve/commit"


def test_the_plan_cache_of_the_gpu_is_a_volume():
    assert variables("gpu")["RETINASERVE_PLANS"] == last("gpu", "VOLUME") == "/plans"


def test_every_variable_of_ours_is_a_setting():
    from service.settings import PREFIX, Settings

    ours = {name for target in SERVING for name in variables(target) if name.startswith(PREFIX)}
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"RETINASERVE_PLANS"}
    assert ours <= known


def test_the_build_sees_what_it_copies_and_little_else():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    seen = [line[1:] for line in lines if line.startswith("!")]
    copied = {
        source
        for stage in STAGES.values()
        for word, rest in stage
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == set(seen)
    assert all((ROOT / path).exists() for path in seen)
    assert lines.index("*") < lines.index("!pyproject.toml")


def test_the_wheel_is_built_from_every_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = [rest.split()[0] for word, rest in STAGES["wheel"] if word == "COPY"]
    listed = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name for name in copied if (ROOT / name).is_dir()} == {
        name for name in listed if "*" not in name
    }


def test_the_extras_of_an_image_exist_and_what_serves_has_no_torch():
    run = " ".join(rest for word, rest in STAGES["requirements"] if word == "RUN")
    images = {name: line.split(",") for line, name in re.findall(r"y (\S+) +>(\w+)\.txt", run)}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    packages = {
        image: {Requirement(line).name for name in names for line in extras[name]}
        for image, names in images.items()
    }
    assert {image: "torch" in names for image, names in packages.items()} == {
        "cpu": False,
        "gpu": False,
        "train": True,
        "loadtest": False,
    }


def test_the_pins_of_the_gpu_fit_the_bounds_and_are_pinned_once():
    def pins(path: str) -> dict[str, str]:
        lines = [line for line in (ROOT / path).read_text().splitlines() if line[:1] != "#"]
        return {name.lower(): version for name, version in (line.split("==") for line in lines)}

    gpu = pins("docker/constraints-gpu.txt")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    bounds = [Requirement(line) for extra in ("gpu", "tensorrt") for line in extras[extra]]
    both = gpu | pins("constraints.txt")
    assert not gpu.keys() & pins("constraints.txt").keys()
    for bound in bounds:
        assert both[bound.name.lower()] in bound.specifier, bound


@pytest.mark.parametrize(
    ("path", "copied"), [("a.pyc", False), ("docker/smoke.sh", False), ("model", True)]
)
def test_the_ignore_list_starts_from_nothing(path, copied):
    # docker's rule: the last pattern that matches decides.
    decided = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if line[:1] not in ("#", "") and fnmatch(path, pattern):
            decided = line.startswith("!")
    assert decided is copied
