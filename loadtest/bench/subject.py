"""What is to be measured: a bundle, a checkpoint, or an architecture of the paper's form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.engines.registry import ENGINES
from export.manifest import Manifest, Precision, read_bundle
from loadtest.bench.worker import EAGER, Contender
from model.errors import InputError

PRECISIONS_OF_CHECKPOINTS = {"torch": ("fp32", "fp16", "bf16"), EAGER: ("fp32",)}


@dataclass(frozen=True)
class Subject:
    """A model by its files: `checkpoint` for the torch engine, `backbone` if it is known."""

    name: str
    bundle: Path
    manifest: Manifest
    checkpoint: Path | None = None
    backbone: str | None = None

    def contenders(
        self, engines: Sequence[str], precisions: Sequence[Precision], device: str
    ) -> tuple[list[Contender], list[str]]:
        """Who takes part, and a line on each combination that can't; InputError if none can."""
        found, left_out = [], []
        for engine in engines:
            path = self.checkpoint if engine in PRECISIONS_OF_CHECKPOINTS else self.bundle
            for precision in precisions or self._precisions():
                if reason := self._lack(engine, precision, device):
                    left_out.append(f"{engine} {precision}: {reason}")
                elif path is not None:
                    found.append(Contender(engine, precision, path, device))
        if not found:
            raise InputError(f"nothing to measure: {'; '.join(left_out)}")
        return found, left_out

    def ap(self, scale: int, precision: Precision) -> float | None:
        """The AP (0..1) that the manifest tells of a graph at a scale, where it does."""
        by_scale = self.manifest.metrics.get("export", {}).get(precision, {})
        value = by_scale.get(str(scale), {}).get("AP")
        return None if value is None else float(value)

    def _precisions(self) -> list[Precision]:
        return list(dict.fromkeys(graph.precision for graph in self.manifest.graphs))

    def _lack(self, engine: str, precision: Precision, device: str) -> str | None:
        if engine in PRECISIONS_OF_CHECKPOINTS:
            if self.checkpoint is None:
                return "a bundle holds no checkpoint; --bundle takes one instead"
            known = PRECISIONS_OF_CHECKPOINTS[engine]
            return None if precision in known else f"runs {', '.join(known)}"
        flavour = "cpu" if device == "cpu" else "tensor"
        held = [g.precision for g in self.manifest.graphs if g.flavour == flavour]
        if precision not in held:
            return f"no such graph of flavour {flavour}; there are {', '.join(held) or 'none'}"
        return None


def needs_graphs(engines: Sequence[str]) -> bool:
    """Whether any of the engines runs graphs."""
    return any(name in ENGINES and ENGINES[name].opens == "bundle" for name in engines)


def subject_of_bundle(path: Path) -> Subject:
    """A bundle's folder."""
    manifest = read_bundle(path).manifest
    backbone = manifest.source.get("recipe", {}).get("model", {}).get("backbone")
    return Subject(manifest.name, path, manifest, backbone=backbone)
