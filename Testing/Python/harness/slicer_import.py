"""Keep the folder Testing/Python/slicer out of the package `slicer`.

slicer-core's package takes in, and imports, every module of every folder `slicer` on sys.path. Testing/Python is on
sys.path and has one, with tests. So while the package is executed, such folders are not on the path.
"""

import importlib.abc
import importlib.machinery
import os
import sys


class _Loader(importlib.abc.Loader):
    def __init__(self, loader) -> None:
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module) -> None:
        saved = list(sys.path)
        sys.path[:] = [entry for entry in saved if not _has_another_slicer(entry)]
        try:
            self._loader.exec_module(module)
        finally:
            sys.path[:] = saved


def _has_another_slicer(entry: str) -> bool:
    folder = os.path.join(entry or os.getcwd(), "slicer")
    return os.path.isdir(folder) and not os.path.exists(os.path.join(folder, "slicer_core.py"))


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "slicer":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def install() -> None:
    if not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
