"""Whom the chart's network policy lets to which port."""

from __future__ import annotations

import pytest

from tests.deploy.kubernetes import example, render, server, the, variables


def test_the_admin_port_may_be_without_a_policy_where_it_asks_for_a_key():
    values = {
        "admin": {"enabled": True, "service": True},
        "apiKeySecret": {"name": "keys"},
        "networkPolicy": {"enabled": False},
    }
    container = server(render(values))
    assert "RETINASERVE_API_KEY" in variables(container)
    assert [port["name"] for port in container["ports"]] == ["http", "admin"]


def test_nobody_reaches_the_admin_port_unless_named():
    values = {"admin": {"enabled": True, "service": True}}
    rules = the("NetworkPolicy", render(values))["spec"]
    assert rules["ingress"] == [{"ports": [{"port": "http"}]}]
    assert rules["egress"] == []
    rules = the("NetworkPolicy", render(example("hpa")))["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in rules] == ["http", "admin"]
    assert all(rule["from"] for rule in rules)


@pytest.mark.parametrize("values", [{}, example("hpa")], ids=["everybody", "some"])
def test_the_policy_admits_the_pod_of_helm_test(values):
    manifests = render(values)
    policy = the("NetworkPolicy", manifests)["spec"]
    test = the("Pod", manifests)["metadata"]["labels"]
    assert admits(policy, test, "http")
    assert not admits(policy, test, "admin")
    # Whoever else is in the namespace is admitted only where everybody is.
    assert admits(policy, {"app.kubernetes.io/name": "other"}, "http") is (values == {})


def admits(policy, labels, port):
    """Whether a pod of the same namespace with these labels may reach the port."""

    def is_meant(peer):
        wanted = peer.get("podSelector", {}).get("matchLabels", {}).items()
        return set(peer) == {"podSelector"} and wanted <= labels.items()

    return any(
        {"port": port} in rule["ports"] and ("from" not in rule or any(map(is_meant, rule["from"])))
        for rule in policy["ingress"]
    )
