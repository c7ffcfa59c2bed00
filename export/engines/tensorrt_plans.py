"""Plans on disk: TensorRT engines and what each of them is tied to. No TensorRT here.

A plan runs where it was built and nowhere else, and TensorRT may crash on what doesn't fit. So
each `NAME.plan` has a `NAME.json` beside it, written after it, and is handed out only when that
says that it fits, and the file is the one that was written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from export.engines.tensorrt_cuda import Gpu
from export.manifest import BundleError, Graph, Manifest, Precision
from model.files import sha256_of, whole_file
from model.letterbox import Canvas

FORMAT: Final = 1

FOLDER_VARIABLE = "RETINASERVE_PLANS"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Environment(_Part):
    """What a plan is tied to beside its graph; `driver` is the CUDA version of the driver."""

    tensorrt: str
    gpu: str
    capability: str
    driver: str

    @classmethod
    def here(cls, tensorrt: str, gpu: Gpu) -> Environment:
        """That of this TensorRT on this GPU."""
        return cls(tensorrt=tensorrt, gpu=gpu.name, capability=gpu.capability, driver=gpu.driver)


class BuildRule(_Part):
    """How to build: batches of 1 to `max_batch`; `refit`: able to take new weights;
    `version_compatible`: loads in later TensorRTs of the same major version too.
    """

    max_batch: Annotated[int, Field(ge=1, le=1024)] = 8
    refit: bool = False
    version_compatible: bool = False


class PlanFacts(_Part):
    """What a plan was built from, for and how.

    `canvases` (HEIGHTxWIDTH) are its optimization profiles, in order. `skeleton` and `weights` say
    what may change in a refit, see `export.tensorrt_graph`; empty for a plan that takes none.
    """

    format: Literal[1] = FORMAT
    file: str
    """The graph's file name, for people."""
    graph_sha256: Sha256
    facts_sha256: Sha256
    """Of `Manifest.facts`: a manifest that was edited since does not go with the plan."""
    precision: Precision
    environment: Environment
    rule: BuildRule
    canvases: Annotated[list[str], Field(min_length=1)]
    skeleton: str = ""
    weights: dict[str, str] = {}

    @property
    def key(self) -> str:
        """16 hex digits of all that decides whether a plan can be used again."""
        parts = self.model_dump(mode="json", include={"graph_sha256", "environment", "rule"})
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The plan's file name without suffix."""
        return f"{Path(self.file).stem}-{self.key}"

    def misfit(self, here: Environment) -> str | None:
        """Why the plan can't run here, as the end of a sentence; None if it can."""
        there = self.environment
        if (there.gpu, there.capability) != (here.gpu, here.capability):
            return (
                f"was built for {there.gpu} ({there.capability}), "
                f"this is {here.gpu} ({here.capability})"
            )
        if not self._runs_in(here.tensorrt):
            return f"was built by TensorRT {there.tensorrt}, this is {here.tensorrt}"
        if there.driver != here.driver:
            return f"was built under a driver for CUDA {there.driver}, this is {here.driver}"
        return None

    def _runs_in(self, version: str) -> bool:
        if not self.rule.version_compatible:
            return version == self.environment.tensorrt
        mine, theirs = _numbers(self.environment.tensorrt), _numbers(version)
        return mine[0] == theirs[0] and mine <= theirs


class _Written(_Part):
    """The content of `NAME.json`."""

    plan_sha256: Sha256
    facts: PlanFacts


class Plan:
    """A plan on disk that fits."""

    def __init__(self, path: Path, written: _Written) -> None:
        self.path, self.facts, self._sha256 = path, written.facts, written.plan_sha256

    def is_whole(self) -> bool:
        """Whether the file is the one that was written."""
        return self.path.is_file() and sha256_of(self.path) == self._sha256

    def read(self) -> bytes:
        """The file's content; BundleError if it is missing or not the one that was written."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            raise BundleError(f"{self.path}: this plan is missing; {_again()}") from None
        if hashlib.sha256(content).hexdigest() != self._sha256:
            raise BundleError(f"{self.path}: this plan was altered; {_again()}")
        return content


def plan_folder() -> Path:
    """Where plans are kept: RETINASERVE_PLANS, or retinaserve/tensorrt in the user's cache."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "retinaserve" / "tensorrt"


def write_plan(folder: Path, facts: PlanFacts, content: bytes) -> Plan:
    """Puts a plan into a folder; a kill at any moment leaves the old one, the new one or none."""
    path = folder / f"{facts.name}.plan"
    written = _Written(plan_sha256=hashlib.sha256(content).hexdigest(), facts=facts)
    path.with_suffix(".json").unlink(missing_ok=True)
    with whole_file(path) as part:
        part.write_bytes(content)
    with whole_file(path.with_suffix(".json")) as part:
        part.write_text(written.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return Plan(path, written)


def plans_in(folder: Path) -> list[Plan]:
    """All plans of a folder whose descriptions can be read, the newest first."""
    found = []
    for path in folder.glob("*.json"):
        try:
            written = _Written.model_validate_json(path.read_bytes())
            found.append((path.stat().st_mtime, Plan(path.with_suffix(".plan"), written)))
        except (ValidationError, OSError):
            continue  # of another version, or being replaced just now
    return [plan for _, plan in sorted(found, key=lambda entry: entry[0], reverse=True)]


def find_plan(folder: Path, graph: Graph, here: Environment) -> Plan:
    """The newest plan of a graph that fits; BundleError says why there is none."""
    plans = [plan for plan in plans_in(folder) if plan.facts.graph_sha256 == graph.sha256]
    misfits = [plan.facts.misfit(here) for plan in plans]
    for plan, misfit in zip(plans, misfits, strict=True):
        if misfit is None:
            return plan
    if plans:
        raise BundleError(f"{plans[0].path}: this plan {misfits[0]}; {_again()}")
    stem = Path(graph.file).stem
    if any(plan.facts.file == graph.file for plan in plans_in(folder)):
        raise BundleError(f"{folder} holds a plan of an older {graph.file} only; {_again()}")
    raise BundleError(f"{folder} holds no TensorRT plan of {stem}; {_again('build it')}")


def facts_sha256(manifest: Manifest, graph: Graph) -> str:
    """The hash of what a manifest says of one of its graphs."""
    return hashlib.sha256(manifest.facts(graph.precision, graph.flavour).encode()).hexdigest()


def timing_cache(folder: Path, here: Environment) -> Path:
    """Where TensorRT's timings of one GPU and version are kept."""
    gpu = re.sub(r"[^A-Za-z0-9]+", "-", here.gpu).strip("-")
    return folder / f"timings-{gpu}-{here.capability}-{here.tensorrt}.cache"


def profiles_of(facts: PlanFacts) -> dict[Canvas, int]:
    """The optimization profile of each canvas."""
    return {Canvas.parse(text): index for index, text in enumerate(facts.canvases)}


def _again(verb: str = "build it again") -> str:
    return f"{verb}: `retinaserve build BUNDLE`"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
