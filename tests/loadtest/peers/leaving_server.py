"""Says that it is ready, and leaves a process behind when a signal ends it."""

import signal
import subprocess
import sys

if __name__ == "__main__":
    port = sys.argv[sys.argv.index("--port") + 1]
    subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
    sys.stdout.write(f"stub: nothing is ready on http://127.0.0.1:{port}; try it\n")
    sys.stdout.flush()
    signal.pause()
