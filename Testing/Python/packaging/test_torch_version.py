"""afnet uses no name of torch that is newer than 2.2, the last torch for Slicer on macOS.

torch_2_2_names.txt holds the public names of 2.2. A method cannot be told from the source by the type of its object:
every attribute that today's tensors have must be one of 2.2's tensors as well.
"""

import ast
from pathlib import Path

import pytest
import torch
from cmake_lists import MODULE

ENGINE = sorted((MODULE / "afnet").rglob("*.py"))

NOT_OF_TENSORS = {"name", "index"}
"""New on tensors, and attributes of many other objects."""


def names_of_2_2() -> dict[str, set[str]]:
    """Dotted module (or class) of torch -> its names."""
    names = {}
    for line in (Path(__file__).parent / "torch_2_2_names.txt").read_text(encoding="ascii").splitlines():
        if line.endswith(":"):
            section = names.setdefault(line[:-1], set())
        elif line.startswith("  "):
            section.update(line.split())
    return names


KNOWN = names_of_2_2()


def newer(source: str) -> list[str]:
    """Return what `source` uses of torch and 2.2 does not have."""
    tree = ast.parse(source)
    aliases, found = {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "torch":
                    aliases[alias.asname or "torch"] = alias.name if alias.asname else "torch"
                    found += _unknown(alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                found += _unknown(f"{node.module}.{alias.name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain = _chain(node)
            if chain and chain[0] in aliases:
                found += _unknown(".".join((aliases[chain[0]], *chain[1:])))
            elif hasattr(torch.Tensor, node.attr) and node.attr not in KNOWN["torch.Tensor"] | NOT_OF_TENSORS:
                found += [f"Tensor.{node.attr}"] if not node.attr.startswith("_") else []
    return found


def _chain(node: ast.AST) -> tuple[str, ...]:
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        chain = _chain(node.value)
        return (*chain, node.attr) if chain else ()
    return ()


def _unknown(dotted: str) -> list[str]:
    place, *rest = dotted.split(".")
    for name in rest:
        if place not in KNOWN:
            return []  # a class or function: what it has is beyond the list
        if name not in KNOWN[place] and f"{place}.{name}" not in KNOWN and not name.startswith("__"):
            return [f"{place}.{name}"]
        place = f"{place}.{name}"
    return []


@pytest.mark.parametrize("file", ENGINE, ids=lambda file: file.relative_to(MODULE).as_posix())
def test_torch_2_2_is_enough(file):
    assert newer(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("source,name", [
    ("import torch\ntorch.get_default_device()", "torch.get_default_device"),
    ("import torch\ntorch.accelerator.current_accelerator()", "torch.accelerator"),
    ("import torch\nx = torch.zeros(1, dtype=torch.uint16)", "torch.uint16"),
    ("import torch\ntorch.OutOfMemoryError", "torch.OutOfMemoryError"),
    ("from torch import nn\nnn.RMSNorm(3)", "torch.nn.RMSNorm"),
    ("from torch.nn import functional as F\nF.rms_norm(x, (3,))", "torch.nn.functional.rms_norm"),
    ("from torch.nn import Buffer", "torch.nn.Buffer"),
    ("import torch.xpu", "torch.xpu"),
    ("def f(x):\n    return (x + 1).hash_tensor()", "Tensor.hash_tensor"),
])  # fmt: skip
def test_a_newer_name_is_found(source, name):
    assert name in newer(source)


@pytest.mark.parametrize("source", [
    "import torch\ntorch.nn.functional.conv3d(x, w).softmax(0)", "from torch import nn\nnn.init.normal_(x)",
    "import torch\ntorch.cuda.OutOfMemoryError", "entry.name",
])  # fmt: skip
def test_an_old_name_is_not(source):
    assert newer(source) == []
