"""`python -m afnet`, or `python <folder>/afnet/__main__.py`, which then runs the copy it lies in."""

import sys
from pathlib import Path


def main() -> int:
    """Watch the parent first, for torch takes seconds to import; then run the command."""
    # Run as a script, Python puts this folder in front, where `import afnet` would not find the package.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    arguments = sys.argv[1:]
    trains = "finetune" in arguments and "--check-only" not in arguments
    if "--parent-pipe" in arguments and not trains:  # a training watches it more gently, by itself
        from afnet.parent import watch

        folder = arguments[arguments.index("--job-folder") + 1] if "--job-folder" in arguments[:-1] else None
        watch(Path(folder) if folder else None)
    from afnet.cli import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
