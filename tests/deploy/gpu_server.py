"""A server without an engine on a GPU that is not there: python -m tests.deploy.gpu_server."""

import sys
import time

from service.app import create_app
from service.server import bind, serve, url_of
from service.settings import read_settings
from tests.service.fakes import FakeSession
from tests.service.telemetry.test_gpu import FakeNvml

RUN_S = 0.02

if __name__ == "__main__":
    port = sys.argv[sys.argv.index("--port") + 1]
    settings = read_settings({"port": port, "device": "cuda:0"})
    sys.modules["pynvml"] = FakeNvml()
    with bind(settings.host, settings.port) as listener:
        url = url_of(listener)
        app = create_app(
            settings,
            FakeSession(on_run=lambda _: time.sleep(RUN_S)),
            on_ready=lambda: print(f"it is ready on {url}", flush=True),  # noqa: T201
        )
        serve(app, settings, listener)
