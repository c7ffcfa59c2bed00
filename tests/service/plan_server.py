"""`retinaserve serve` with `auto` on a GPU, as far as that goes without one.

python plan_server.py FOLDER: the build writes its process id to FOLDER/pid, waits for whoever opens
the pipe FOLDER/gate, and then writes FOLDER/plan, with which `auto` takes TensorRT. The settings,
the server, its signals and the process beside it are the real ones.
"""

import argparse
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from export.engines.tensorrt_plans import Environment
from export.manifest import Graph
from service.cli import serve
from service.plan_builder import MissingPlan
from tests.service.fakes import FakeSession, make_manifest

BUILD = """
import os, sys
from pathlib import Path
folder = Path(sys.argv[1])
folder.joinpath("part").write_text(str(os.getpid()))
folder.joinpath("part").rename(folder / "pid")
folder.joinpath("gate").read_text()
folder.joinpath("plan").touch()
print("built")
"""
GRAPH = Graph(file="m.onnx", precision="fp32", flavour="tensor", sha256="0" * 64, opset=18)
HERE = Environment(tensorrt="11", gpu="NVIDIA L4", capability="8.9", driver="13.0")


class Session(FakeSession):
    def __init__(self, engine: str) -> None:
        super().__init__(make_manifest(graphs=[GRAPH]))
        self.engine = engine


def main(folder: Path) -> int:
    def open_session(*_: Any, **__: Any) -> Session:
        return Session("tensorrt-11" if (folder / "plan").exists() else "onnxruntime-1")

    def missing_plan(*_: Any) -> MissingPlan | None:
        if (folder / "plan").exists():
            return None
        return MissingPlan(GRAPH.file, GRAPH.sha256, HERE, 2)

    parser = argparse.ArgumentParser()
    serve.configure(parser)
    command = [sys.executable, "-c", BUILD, str(folder)]
    with (
        mock.patch("service.cli.serve.open_session", open_session),
        mock.patch("service.reload.open_session", open_session),
        mock.patch("export.engines.golden.golden_figures", return_value=[]),
        mock.patch("service.plan_builder.builds_plans", return_value=True),
        mock.patch("service.plan_builder.missing_plan", missing_plan),
        mock.patch("service.plan_builder.build_command", return_value=command),
    ):
        return serve.run(parser.parse_args(["--port", "0", "--device", "cuda"]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
