"""The lists of files in the module's CMakeLists.txt: what they say, and what they should say.

`python cmake_lists.py` prints the difference, `--write` (make lists) brings CMakeLists.txt up to date.
"""

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
MODULE = REPOSITORY / "AutofocusSegmentation"
NOT_INSTALLED = {"CMakeLists.txt"}


def tracked_files(folder: Path = MODULE) -> list[str]:
    """Files under `folder` that git knows, as POSIX paths relative to it, in order of name."""
    result = subprocess.run(["git", "ls-files", "-z"], cwd=folder, capture_output=True, check=True)
    return sorted(name for name in result.stdout.decode().split("\0") if name)


def expected() -> dict[str, list[str]]:
    """List name -> files. A file that git has and the folder has lost is left out."""
    files = [name for name in tracked_files() if name not in NOT_INSTALLED and (MODULE / name).exists()]
    scripts = [name for name in files if name.endswith(".py")]
    return {
        "MODULE_PYTHON_SCRIPTS": scripts,
        "MODULE_PYTHON_RESOURCES": [name for name in files if name not in scripts],
    }


def listed(text: str | None = None) -> dict[str, list[str]]:
    """List name -> files in CMakeLists.txt, which uses the variable MODULE_NAME in no other way than as a prefix."""
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8") if text is None else text
    return {name: body.split() for name, body in re.findall(r"set\((MODULE_PYTHON_\w+)\s([^)]*)\)", text)}


def written(text: str, lists: dict[str, list[str]]) -> str:
    """Return CMakeLists.txt's `text` with its lists replaced by `lists`."""
    for name, files in lists.items():
        body = "".join(f"\n  {file}" for file in files)
        pattern = rf"set\({name}\s[^)]*\)"
        text, count = re.subn(pattern, lambda _, new=f"set({name}{body}\n  )": new, text)
        if count != 1:
            raise ValueError(f"CMakeLists.txt sets {name} {count} times, not once")
    return text


def main(arguments: list[str]) -> int:
    file = MODULE / "CMakeLists.txt"
    text = file.read_text(encoding="utf-8")
    should, does = expected(), listed(text)
    for name, files in should.items():
        for missing in sorted(set(files) - set(does.get(name, []))):
            print(f"{name} lacks {missing}")
        for surplus in sorted(set(does.get(name, [])) - set(files)):
            print(f"{name} has {surplus}, which git does not")
    if should == does:
        print("CMakeLists.txt lists what git has.")
        return 0
    if "--write" in arguments:
        file.write_text(written(text, should), encoding="utf-8", newline="\n")
        print("CMakeLists.txt is up to date.")
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
