import io
import json
import logging

import pytest

from service.telemetry.logs import configure_logs


@pytest.fixture
def stream(logging_as_before):
    return io.StringIO()


FACTS = {"request_id": "a1", "method": "GET", "path": "/x", "status": 404, "duration_ms": 1.5}


def test_away_from_a_terminal_each_line_is_a_json_object(stream):
    configure_logs("info", stream)
    logging.getLogger("service.telemetry.access").info("GET %s", "/x", extra={"facts": FACTS})
    logging.getLogger("service.telemetry.access").debug("not this")
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    assert document.pop("time").endswith("+00:00")
    assert document == {
        "level": "info",
        "logger": "service.telemetry.access",
        "message": "GET /x",
        **FACTS,
    }


def test_an_exception_stays_within_its_line(stream):
    configure_logs("info", stream)
    try:
        raise KeyError("x")
    except KeyError:
        logging.getLogger("service").exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "KeyError" in json.loads(line)["exception"]


def test_on_a_terminal_a_line_is_for_a_person(stream, monkeypatch):
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    configure_logs("info", stream)
    logging.getLogger("service.telemetry.access").info("GET /x 404", extra={"facts": FACTS})
    assert stream.getvalue().endswith(" INFO GET /x 404 request_id=a1 duration_ms=1.5\n")
