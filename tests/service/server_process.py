"""A server with a fake session in a process of its own: python server_process.py RUN_SECONDS."""

import sys
import time

from service.app import create_app
from service.server import bind, serve, url_of
from service.settings import read_settings
from service.telemetry.logs import configure_logs
from tests.service.fakes import FakeSession

if __name__ == "__main__":
    seconds = float(sys.argv[1])
    settings = read_settings({"port": 0, "max_batch_size": 1})
    configure_logs(settings.log_level)
    with bind(settings.host, settings.port) as listener:
        url = url_of(listener)

        def announce() -> None:
            sys.stdout.write(url + "\n")
            sys.stdout.flush()

        session = FakeSession(on_run=lambda _: time.sleep(seconds))
        app = create_app(settings, session, on_ready=announce)
        serve(app, settings, listener)
