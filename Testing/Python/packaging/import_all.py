"""Import every module of one side while some packages are refused; print a JSON report as the last line.

`python import_all.py slicer|engine MODULE_FOLDER FORBIDDEN...`: run in a process of its own.
"""

import importlib
import importlib.abc
import json
import pkgutil
import sys
from pathlib import Path


class Refuse(importlib.abc.MetaPathFinder):
    """Refuses the packages `forbidden` and remembers who was asked for."""

    def __init__(self, forbidden: set[str]) -> None:
        self.forbidden = forbidden
        self.attempts: list[str] = []

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.forbidden:
            self.attempts.append(name)
            raise ModuleNotFoundError(f"No module named '{name}' (refused by this test)", name=name)


def start_slicer() -> None:
    """slicer-core and the stand-ins for Slicer's Python packages, with Qt.

    slicer comes first: it takes every folder called slicer on sys.path for a part of itself.
    """
    importlib.import_module("slicer")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from harness import headless, scripted_module

    headless.start()
    scripted_module.install(gui=True)


def import_package(name: str, failures: dict[str, str], skip: frozenset[str] = frozenset()) -> None:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if module.name not in skip:
            try:
                importlib.import_module(module.name)
            except Exception as error:  # reported, whatever it is
                failures[module.name] = f"{type(error).__name__}: {error}"


def main(side: str, folder: str, forbidden: list[str]) -> None:
    if side == "slicer":
        start_slicer()
    refuse = Refuse(set(forbidden))
    sys.meta_path.insert(0, refuse)
    sys.path.insert(0, folder)
    failures: dict[str, str] = {}
    if side == "slicer":
        importlib.import_module("AutofocusSegmentation")
        import_package("AutofocusSegmentationLib", failures)
    else:
        import_package("afnet", failures, frozenset({"afnet.__main__"}))  # it runs when imported
    own = ("afnet", "AutofocusSegmentation", "AutofocusSegmentationLib")
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in own}
    for name, module in modules.items():
        assert Path(module.__file__).resolve().is_relative_to(Path(folder).resolve()), f"{name} came from elsewhere"
    print(json.dumps({"modules": sorted(modules), "attempts": refuse.attempts, "failures": failures}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
