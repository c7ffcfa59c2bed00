#!/usr/bin/python3 -IS
"""Exit status 0 if the service in this container is ready, else 1 and a line that says why."""

import http.client
import os
import sys

TIMEOUT_S = 2.0
EVERYWHERE = ("", "0.0.0.0", "::")


def unready(host: str, port: int) -> str | None:
    """Why the service that listens there is not ready; None if it is."""
    address = "127.0.0.1" if host in EVERYWHERE else host
    connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{address}:{port}: {error}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"{address}:{port}/readyz says {status}"


if __name__ == "__main__":
    sys.exit(
        unready(
            os.environ.get("RETINASERVE_HOST", "127.0.0.1"),
            int(os.environ.get("RETINASERVE_PORT", "8000")),
        )
    )
