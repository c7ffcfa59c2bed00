#!/usr/bin/python3 -IS
"""Exit status 0 if the service in this container is ready, else 1 and a line that says why."""

import http.client
import os
import sys

TIMEOUT_S = 2.0
# Where a service is asked that listens on all addresses; on `::` it hears nothing by IPv4.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def unready(host: str, port: int) -> str | None:
    """Why the service that listens there is not ready; None if it is."""
    address = LOOPBACK.get(host, host)
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{where}: {error}"
    finally:
        connection.close()
    return None if status == http.client.OK else f"{where}/readyz says {status}"


if __name__ == "__main__":
    sys.exit(
        unready(
            os.environ.get("RETINASERVE_HOST", "127.0.0.1"),
            int(os.environ.get("RETINASERVE_PORT", "8000")),
        )
    )
