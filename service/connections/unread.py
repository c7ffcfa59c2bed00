"""What stands in for a request that can't be read, so that the application knows of it."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.context import CONNECTION_KEY
from service.telemetry.access import UNKNOWN

REFUSAL_KEY = "retinaserve.refusal"
"""Where its scope holds the Problem that is to be answered."""
CUT_OFF_KEY = "retinaserve.cut_off"
"""Where it says why the connection was cut off; nobody is there to be answered."""


def unread_request(connection: HttpToolsProtocol, entries: dict[str, Any]) -> RequestResponseCycle:
    """A request without method and path, these entries in its scope; its answer is the last.

    It has the headers that were read, be it for the caller's X-Request-ID. The connection's parser
    must not go on after this.
    """
    headers = connection.headers or []
    HttpToolsProtocol.on_message_begin(connection)  # makes the scope
    scope: Any = connection.scope
    scope.update(method=UNKNOWN, path="", raw_path=b"", query_string=b"", headers=headers)
    scope.update({CONNECTION_KEY: connection} | entries)
    return RequestResponseCycle(
        scope=scope,
        transport=connection.transport,
        flow=connection.flow,
        logger=connection.logger,
        access_logger=connection.access_logger,
        access_log=connection.access_log,
        default_headers=connection.server_state.default_headers,
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=False,
        on_response=connection.on_response_complete,
    )
