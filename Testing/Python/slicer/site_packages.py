"""Folders that look like Slicer's site-packages with torch in one state or another."""

from pathlib import Path


def put_torch(folder: Path, version="2.8.0", metadata=True, package=True, library=True, cuda=None, name=None) -> Path:
    """Write torch's metadata and the few files of it that the doctor looks at; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if metadata:
        info = folder / f"torch-{name or version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n", encoding="utf-8")
    if package:
        torch = folder / "torch"
        torch.mkdir()
        (torch / "__init__.py").write_text("raise ImportError('nobody may import torch here')\n", encoding="utf-8")
        (torch / "version.py").write_text(
            f"from typing import Optional\n__version__ = {version!r}\ndebug = False\n"
            f"cuda: Optional[str] = {cuda!r}\nhip: Optional[str] = None\n", encoding="utf-8")
        if library:
            (torch / "_C.cp312-win_amd64.pyd").write_bytes(b"")
    return folder
