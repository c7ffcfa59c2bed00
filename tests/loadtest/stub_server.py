"""Says that it is ready and waits for a signal: python -m tests.loadtest.stub_server HOW.

ends: it ends with status 5 instead of getting ready. stays: SIGTERM does not end it.
"""

import signal
import sys

if __name__ == "__main__":
    how = sys.argv[1]
    if how == "ends":
        sys.exit(5)
    signal.signal(signal.SIGTERM, lambda *_: how == "stays" or sys.exit(3))
    port = sys.argv[sys.argv.index("--port") + 1]
    sys.stdout.write(f"stub: nothing is ready on http://127.0.0.1:{port}; try it\n")
    sys.stdout.flush()
    while True:
        signal.pause()
