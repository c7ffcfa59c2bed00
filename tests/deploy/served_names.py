"""What /metrics of the service shows, a GPU included."""

from __future__ import annotations

import sys
from functools import cache

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.settings import Settings
from tests.service.fakes import FakeSession
from tests.service.telemetry.test_gpu import FakeNvml


@cache
def served_families() -> dict[str, set[str]]:
    """The names of the series of each metric."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pynvml", FakeNvml())
        app = create_app(Settings(device="cuda:0"), FakeSession())
    app.state.runtime.decoders.shutdown()
    text = app.state.runtime.metrics.render().decode()
    return {
        family.name: {sample.name for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


def served_names() -> set[str]:
    """The names of all series."""
    return {name for names in served_families().values() for name in names}
