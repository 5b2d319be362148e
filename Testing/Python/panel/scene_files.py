"""A scene saved as single files, and opened again when one of them is no longer there."""

from pathlib import Path


def save_in_files(folder: Path) -> None:
    """Write every node that has data to `folder` under its own name, and scene.mrml beside them."""
    import slicer.util

    for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
        if node.AddDefaultStorageNode() or node.GetStorageNode() is not None:
            ending = node.GetStorageNode().GetDefaultWriteFileExtension()
            node.GetStorageNode().SetFileName(str(folder / f"{node.GetName()}.{ending}"))
            assert node.GetStorageNode().WriteData(node)
    assert slicer.util.saveScene(str(folder / "scene.mrml"))


def load_without(folder: Path, name: str, vtk_errors) -> None:
    """Load that scene after one file was deleted, of which Slicer itself tells."""
    import pytest
    import slicer.util

    (folder / name).unlink()
    with pytest.raises(RuntimeError):
        slicer.util.loadScene(str(folder / "scene.mrml"))
    vtk_errors.clear()
