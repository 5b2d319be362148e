"""`python -m afnet`, or `python <folder>/afnet/__main__.py`, which then runs the copy it lies in.

Every Python back to 2.7 must be able to read this file, to say that it is too old: no annotations, no f-strings.
"""

import os
import signal
import sys

OLDEST_PYTHON = (3, 11)


def main():
    """Watch the parent first, for torch takes seconds to import; then run the command.

    SIGTERM, SIGHUP and SIGBREAK, by which Windows tells that the console is closed, end a run as Ctrl+C does:
    half-written files go, and the exit code is 130. One that whoever began the run had it ignore, as nohup does, stays
    ignored.
    """
    if sys.version_info < OLDEST_PYTHON:
        sys.stderr.write(
            "Python {}.{} is older than afnet needs; run it with Python {}.{} or newer.\n".format(
                *(sys.version_info[:2] + OLDEST_PYTHON)
            )
        )
        return 2
    cancelled = 130  # as afnet.process.parent has it, which may not have been imported by then
    _at_signals(signal.default_int_handler)
    try:
        code = _main()
    except KeyboardInterrupt:  # while modules are imported, or a second time
        sys.stderr.write("Cancelled.\n")
        code = cancelled
    if code == cancelled:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more would be a traceback from Python's end
    return code


def _at_signals(answer):
    """Let these signals be answered so, where they exist and are not ignored."""
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), answer)


def _set_threads():
    """Let threads that wait give their core away; to be called before numpy and torch are imported.

    While something else, such as Slicer's window, uses one of two cores, a thread that spins for another one wastes the
    other core: a pelvis took 73 s, and 36 s with 1000 turns (GNU OpenMP, which torch has on Linux; 26 s either way with
    both cores free). The matrices that OpenBLAS multiplies here are too small for threads, and with one the prepared
    images are the same to the bit on any number of cores.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _set_file_names():
    """Let ITK open files by the names that SimpleITK gives it, UTF-8, on Windows too: its C runtime takes them for the
    code page of the system, unless the locale is of UTF-8."""
    if sys.platform == "win32":
        import locale

        try:
            locale.setlocale(locale.LC_CTYPE, ".UTF8")
        except locale.Error:  # older than Windows 10, version 1803
            pass


def _main():
    from pathlib import Path  # not in Python 2

    # Run as a script, Python puts this folder in front, where `import afnet` would not find the package.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    for name in ("stdout", "stderr"):  # closed, or in an encoding that lacks a letter of a file's name
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="backslashreplace")
    _set_threads()
    _set_file_names()
    arguments = sys.argv[1:]
    trains = arguments[:1] == ["finetune"] and "--check-only" not in arguments
    if "--parent-pipe" in arguments and not trains:  # a training watches it more gently, by itself
        from afnet.process.parent import leave, watch

        folder = arguments[arguments.index("--job-folder") + 1] if "--job-folder" in arguments[:-1] else None
        watch(Path(folder) if folder else None)
        _at_signals(lambda number, frame: leave())  # at a logout the parent may end next: nobody else would clean up
    from afnet.cli import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
