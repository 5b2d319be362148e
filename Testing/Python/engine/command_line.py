"""Arguments of the command line, and what a run leaves in a folder."""

from pathlib import Path


def ct_arguments(file, manifest, out: Path, *more) -> list:
    """`segment` one CT with a model into out/s.seg.nrrd."""
    return ["segment", "--model", manifest.folder, "--input", f"ct={file}", "--output", out / "s.seg.nrrd", *more]


def left_in(folder: Path) -> list[str]:
    """Names of everything in a folder and below."""
    return sorted(item.name for item in folder.rglob("*"))
