"""The training Job: Kubernetes would take it, and what its pods run trains together."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml

from loadtest.ports import free_ports
from tests.deploy.kubernetes import DEPLOY, check

SERVICE, JOB = yaml.safe_load_all((DEPLOY / "train" / "job.yaml").read_text())
SPEC = JOB["spec"]
POD = SPEC["template"]["spec"]
(CONTAINER,) = POD["containers"]

RECIPE = """
name = "tiny"
[model]
backbone = "mobilenet_v2"
head_width = 8
head_depth = 0
[[data.train]]
format = "drawn"
count = 4
size = [64, 96]
[train]
steps = 2
batch_size = 2
scale = 64
workers = 1
"""


@pytest.mark.parametrize("manifest", [SERVICE, JOB], ids=lambda one: one["kind"])
def test_kubernetes_takes_the_manifest(manifest):
    check(manifest)


def option(name: str) -> str:
    """What the command line of the pods gives an option."""
    (value,) = [one.split("=", 1)[1] for one in CONTAINER["args"] if one.startswith(f"--{name}=")]
    return value


def test_the_pods_find_the_first_one_by_its_name():
    name = JOB["metadata"]["name"]
    assert POD["subdomain"] == SERVICE["metadata"]["name"]
    assert option("master-addr") == f"{name}-0.{POD['subdomain']}"
    assert SERVICE["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    assert SERVICE["spec"]["clusterIP"] == "None"
    assert SPEC["completionMode"] == "Indexed"


def test_every_pod_is_a_node_and_has_a_gpu_for_each_process():
    assert int(option("nnodes")) == SPEC["completions"] == SPEC["parallelism"]
    assert int(option("nproc-per-node")) == CONTAINER["resources"]["limits"]["nvidia.com/gpu"]


def test_a_pod_that_starts_anew_goes_on():
    assert "--resume" in CONTAINER["args"]
    assert (POD["restartPolicy"], POD["enableServiceLinks"]) == ("Never", False)


@pytest.mark.slow
def test_what_the_pods_run_trains_together(tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (port,) = free_ports(1)
    assert CONTAINER["command"] == ["torchrun"]

    def node(rank: int) -> subprocess.Popen[str]:
        here = {
            "--nproc-per-node": "1",
            "--node-rank": str(rank),
            "--master-addr": "127.0.0.1",
            "--master-port": str(port),
        }
        arguments = [
            f"{name}={here[name]}" if (name := one.split("=")[0]) in here else one
            for one in CONTAINER["args"]
        ]
        return subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *arguments, "--device=cpu"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(DEPLOY.parent), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    nodes = [node(rank) for rank in range(SPEC["completions"])]
    said = [one.communicate(timeout=300) for one in nodes]
    assert [one.returncode for one in nodes] == [0, 0], said
    assert "in 2 processes" in said[0][0]
    lines = (tmp_path / "runs" / "mine" / "log.jsonl").read_text().splitlines()
    assert len(lines) == 2
