"""The profile of the service: whose time is whose, and that it runs."""

from __future__ import annotations

import json

import pytest

from loadtest.cli import service_profile


def test_a_built_in_s_time_is_its_caller_s():
    app = (service_profile.__file__, 7, "run")
    library = (json.__file__, 7, "dumps")
    nothing = {}
    stats = {
        app: (1, 1, 3.0, 10.0, nothing),
        library: (1, 1, 2.0, 4.0, {app: (1, 1, 2.0, 4.0)}),
        ("~", 0, "<len>"): (3, 3, 5.0, 5.0, {app: (2, 2, 3.0, 3.0), library: (1, 1, 2.0, 2.0)}),
    }
    assert service_profile.shares(stats) == [("loadtest.cli", 0.6), ("json", 0.4)]


@pytest.mark.parametrize(
    ("file", "package"),
    [
        (pytest.__file__, "pytest"),
        ("~", "built-in"),
        (str(service_profile.ROOT / "service" / "app.py"), "service"),
        (str(service_profile.ROOT / "service" / "pictures" / "avif.py"), "service.pictures"),
    ],
)
def test_packages(file, package):
    assert service_profile.package_of(file) == package


def test_it_runs(capsys):
    assert service_profile.main(["--rounds", "2", "--requests", "3"]) == 0
    out = capsys.readouterr().out
    assert "2 rounds of 3 requests" in out
    assert "%  service.scheduling\n" in out
