"""A stand-in for PythonSlicer, run as `python stand_in_launcher.py [--own-stdin] ARGUMENTS...`.

Like the real launcher (ctkAppLauncher) it starts Python on the arguments, hands its own pipes on, waits, and
passes the exit code on; for a crash it says so and ends with 1. It forwards no signal, and it ignores SIGTERM,
so ending it politely does nothing and killing it leaves the real Python alive. With `--own-stdin` it keeps its
standard input to itself and gives the real Python a pipe that never ends: what a launcher does that uses Qt's
default input channel.
"""

import signal
import subprocess
import sys

for name in ("SIGTERM", "SIGINT", "SIGHUP"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)

arguments = sys.argv[1:]
own_stdin = arguments[:1] == ["--own-stdin"]
real = subprocess.Popen([sys.executable, *arguments[own_stdin:]], stdin=subprocess.PIPE if own_stdin else None)
code = real.wait()
if code < 0:
    sys.exit(f"error: [{sys.executable}] exit abnormally - Report the problem.")
sys.exit(code)
