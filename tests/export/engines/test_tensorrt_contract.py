"""Every name of TensorRT and CUDA that we call exists in the real packages, arguments and all."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.engines import tensorrt_classes
from export.engines.tensorrt_api import TensorRT
from export.engines.tensorrt_cuda import STICKY
from tests.export.engines.wheels import installed

ROOT = Path(__file__).parents[3]
OUR_FILES = [
    *sorted((ROOT / "export/engines").glob("tensorrt_*.py")),
    ROOT / "export/to_tensorrt.py",
    ROOT / "export/cli/build.py",
]
DECLARING = {"tensorrt_classes.py", "tensorrt_api.py"}

CLASSES = {
    name: declared
    for name, declared in vars(tensorrt_classes).items()
    if inspect.isclass(declared) and declared.__module__ == tensorrt_classes.__name__
}
MEMBERS = {
    name: [
        member
        for member in {**inspect.get_annotations(declared), **vars(declared)}
        if not member.startswith("_")
    ]
    for name, declared in CLASSES.items()
}
TOP_LEVEL = [*inspect.get_annotations(TensorRT), "nptype"]

STUBBED = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry", "getNvOnnxParserVersion", "getPluginRegistry",
    "initLibNvInferPlugins",
)  # fmt: skip
"""What the bindings import from TensorRT's libraries. Nothing calls them here."""

ASK = """
import json, sys
import tensorrt_bindings as trt
asked = json.load(sys.stdin)
found = {}
for owner, members in asked.items():
    place = getattr(trt, owner, None) if owner else trt
    for member in members:
        held = getattr(place, member, None)
        found[f"{owner}.{member}"] = None if held is None else held.__doc__ or ""
json.dump([trt.__version__, found], sys.stdout)
"""


def trees() -> list[ast.Module]:
    return [ast.parse(path.read_text()) for path in OUR_FILES if path.name not in DECLARING]


def test_every_name_of_the_package_that_we_use_is_declared() -> None:
    """Its classes' members are mypy's to hold: all of ours are typed by `tensorrt_classes`."""
    used = {
        node.attr
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"trt", "self._trt"}
    }
    assert {"Builder", "OnnxParser", "Runtime", "BuilderFlag"} <= used
    assert used <= set(TOP_LEVEL)


def test_every_declared_member_is_used() -> None:
    used = {
        node.attr for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }
    declared = {member for members in MEMBERS.values() for member in members}
    assert declared - used == set()


@pytest.fixture(scope="module", params=["10.16.1.11", "11.4.0.106"])
def real(request: pytest.FixtureRequest) -> dict[str, str | None]:
    """The documentation of each name that we use in a real package; None: it has no such name."""
    version = request.param
    folder = installed(request.config.cache, f"tensorrt-cu13-bindings=={version}")
    libraries = stub_libraries(folder, version.partition(".")[0])
    asked = {name: [*members, "__init__"] for name, members in MEMBERS.items()}
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(asked | {"": [*TOP_LEVEL, *CLASSES]}),
        env=os.environ | {"PYTHONPATH": str(folder), "LD_LIBRARY_PATH": str(libraries)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told, found = json.loads(done.stdout)
    assert told == version
    return found


def stub_libraries(folder: Path, major: str) -> Path:
    """Libraries that have the symbols which the bindings want, and nothing behind them."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler for the stub of TensorRT's libraries")
    libraries = folder / "stub"
    libraries.mkdir(exist_ok=True)
    source = libraries / "stub.c"
    source.write_text("\n".join(f"void *{name}(void) {{ return 0; }}" for name in STUBBED))
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        target = libraries / f"lib{name}.so.{major}"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", target, source], check=True)
    return libraries


@pytest.mark.slow
def test_every_name_exists_in_the_real_package(real: dict[str, str | None]) -> None:
    assert [name for name, doc in real.items() if doc is None] == []


@pytest.mark.slow
def test_every_call_fits_the_real_signature(real: dict[str, str | None]) -> None:
    misfits = []
    for name, declared in CLASSES.items():
        for member in MEMBERS[name]:
            function = vars(declared).get(member)
            if function is not None and not fits(real[f"{name}.{member}"] or "", function):
                misfits.append(f"{name}.{member}")
    assert misfits == []


@pytest.mark.slow
def test_every_constructor_takes_what_we_give(real: dict[str, str | None]) -> None:
    misfits = []
    for name, hint in typing.get_type_hints(TensorRT).items():
        if typing.get_origin(hint) is typing.get_origin(Callable[[], None]):
            given = len(typing.get_args(hint)[0])
            if not any(
                sum(not optional for _, optional in signature) == given
                for signature in signatures(real[f"{name}.__init__"] or "", "__init__")
            ):
                misfits.append(name)
    assert misfits == []


def test_a_call_that_does_not_fit_is_told() -> None:
    doc = "1. set_flag(self: trt.Config, flag: trt.Flag, more: list[int, str] = None) -> None"
    assert signatures(doc, "set_flag") == [[("flag", False), ("more", True)]]
    assert fits(doc, lambda_of("def set_flag(self, flag): ..."))
    assert fits(doc, lambda_of("def set_flag(self, flag, more): ..."))
    assert fits(doc, lambda_of("def set_flag(self, anything, /): ..."))
    assert not fits(doc, lambda_of("def set_flag(self, name): ..."))
    assert not fits(doc, lambda_of("def set_flag(self): ..."))
    assert not fits(doc, lambda_of("def set_flag(self, flag, more, most): ..."))


def lambda_of(source: str) -> Any:
    names: dict[str, Any] = {}
    exec(source, names)
    return names["set_flag"]


def fits(doc: str, function: Any) -> bool:
    """Whether some overload takes our arguments, by their names where we have given them names."""
    ours = list(inspect.signature(function).parameters.values())[1:]
    for theirs in signatures(doc, function.__name__):
        if len(ours) <= len(theirs) and all(optional for _, optional in theirs[len(ours) :]):
            pairs = zip(ours, theirs, strict=False)
            if all(own.kind is own.POSITIONAL_ONLY or own.name == name for own, (name, _) in pairs):
                return True
    return False


def signatures(doc: str, name: str) -> list[list[tuple[str, bool]]]:
    """The (argument, may be left out) of each overload that pybind11 documents, without self."""
    found = []
    for text in re.findall(rf"^(?:\d+\. )?{name}\(self: [\w.]+(?:, )?(.*)\) -> ", doc, re.M):
        while (flat := re.sub(r"\[[^\[\]]*\]|<[^<>]*>", "", text)) != text:
            text = flat
        parts = [part.strip() for part in text.split(",") if part.strip()]
        found.append([(part.partition(":")[0], "=" in part) for part in parts])
    return found


ASK_CUDA = """
import json, sys
from cuda.bindings import runtime
from export.engines.device import Device
from export.engines.tensorrt_cuda import open_cuda
from model.errors import InputError
found = {}
for name in json.load(sys.stdin):
    held = runtime
    for part in name.split("."):
        held = getattr(held, part, None)
    found[name] = None if held is None else held.__doc__ or ""
fatal = [error.name for error in runtime.cudaError_t if "relaunched" in (error.__doc__ or "")]
try:
    said = open_cuda(Device("cuda")).gpu(0).name
except InputError as error:
    said = str(error)
json.dump([found, fatal, said], sys.stdout)
"""


def cuda_calls() -> dict[str, set[int]]:
    """The names of CUDA's runtime in our code, and with how many arguments each is called."""
    tree = ast.parse((ROOT / "export/engines/tensorrt_cuda.py").read_text())
    names = {
        ast.unparse(node).removeprefix("self._api."): set()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("self._api.")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self._call":
            names[ast.unparse(node.args[0]).removeprefix("self._api.")].add(len(node.args) - 1)
    return names


@pytest.mark.slow
@pytest.mark.parametrize("version", ["12.9.0", "13.5.0"])
def test_every_call_of_cuda_exists_in_the_real_package(
    version: str, request: pytest.FixtureRequest
) -> None:
    packages = (f"cuda-bindings=={version}", "cuda-pathfinder==1.3.3")
    folder = installed(request.config.cache, *packages)
    calls = cuda_calls()
    done = subprocess.run(
        [sys.executable, "-c", ASK_CUDA],
        input=json.dumps(list(calls)),
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found, fatal, said = json.loads(done.stdout)
    assert [name for name, doc in found.items() if doc is None] == []
    for name, counts in calls.items():
        for count in counts:
            (arguments,) = re.findall(rf"^{name}\((.*?)\)", found[name], re.M)
            assert len([part for part in arguments.split(",") if part]) == count, name
    if version.startswith("13."):  # the first to document its errors one by one
        assert STICKY - set(fatal) == {"cudaErrorECCUncorrectable", "cudaErrorNvlinkUncorrectable"}
        assert set(fatal) <= STICKY
    assert said.startswith(
        ("NVIDIA", "device cuda:0: CUDA finds no GPU with a fitting driver here")
    )
