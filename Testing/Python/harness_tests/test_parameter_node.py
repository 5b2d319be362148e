"""The stand-in for slicer.parameterNodeWrapper, without widgets."""

import enum
from pathlib import Path
from typing import Annotated, Optional

import pytest


class Device(enum.Enum):
    AUTO = "auto"
    CPU = "cpu"


@pytest.fixture
def wrapper(slicer_app):
    from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

    @parameterNodeWrapper
    class Parameters:
        volume: slicer_app.vtkMRMLScalarVolumeNode
        reference: Optional[slicer_app.vtkMRMLNode] = None  # noqa: UP045
        device: Device
        model: Annotated[str, Choice(["brain", "pelvis"])] = "pelvis"
        threshold: Annotated[float, WithinRange(0, 100), Default(12.5)]
        overlap: int = 3
        invert: bool = True
        folder: Path
        limit: Optional[float]  # noqa: UP045

    return Parameters


@pytest.fixture
def node(scene):
    return scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "parameters")


def test_defaults(wrapper, node):
    parameters = wrapper(node)
    assert parameters.volume is None and parameters.reference is None and parameters.limit is None
    assert (parameters.device, parameters.model) == (Device.AUTO, "pelvis")
    assert (parameters.threshold, parameters.overlap, parameters.invert) == (12.5, 3, True)
    assert parameters.folder == Path()
    assert node.GetParameter("device") == "AUTO" and node.GetParameter("invert") == "True"


def test_values_are_checked(wrapper, node):
    parameters = wrapper(node)
    for name, value, error in (
        ("threshold", 101, ValueError),
        ("model", "liver", ValueError),
        ("overlap", 1.5, TypeError),
        ("overlap", None, ValueError),
        ("device", "cpu", TypeError),
    ):
        before = getattr(parameters, name)
        with pytest.raises(error):
            setattr(parameters, name, value)
        assert getattr(parameters, name) == before
    with pytest.raises(ValueError, match="no parameter nonsense"):
        parameters.getValue("nonsense")


def test_values_come_back_with_a_saved_scene(wrapper, node, scene, make_volume, tmp_path):
    import slicer.util

    parameters = wrapper(node)
    parameters.volume = parameters.reference = make_volume(name="ct")
    parameters.device, parameters.model, parameters.threshold = Device.CPU, "brain", 7
    parameters.invert, parameters.limit, parameters.folder = False, 0.1, Path("/some/where")
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    scene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))

    parameters = wrapper(slicer.util.getNode("parameters"))
    assert parameters.volume is slicer.util.getNode("ct") and parameters.reference is parameters.volume
    assert (parameters.device, parameters.model, parameters.threshold) == (Device.CPU, "brain", 7.0)
    assert (parameters.invert, parameters.limit, parameters.folder) == (False, 0.1, Path("/some/where"))
    parameters.limit = parameters.reference = None
    assert parameters.limit is None and parameters.reference is None


def test_a_change_is_one_modified_event_and_seen_by_its_observer(wrapper, node):
    import vtk

    parameters, seen = wrapper(node), []
    tag = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: seen.append(parameters.overlap))
    parameters.overlap = 9
    assert seen == [9]
    parameters.RemoveObserver(tag)
    parameters.overlap = 10
    assert seen == [9]


def test_values_are_remembered_until_the_node_says_that_it_changed(wrapper, node):
    parameters = wrapper(node)
    modified = node.StartModify()
    node.SetParameter("overlap", "8")
    assert parameters.overlap == 3
    node.EndModify(modified)
    assert parameters.overlap == 8


def test_what_slicer_would_refuse_is_refused(slicer_app):
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    with pytest.raises(TypeError, match="Optional"):
        parameterNodeWrapper(type("P", (), {"__annotations__": {"x": int | None}}))
    with pytest.raises(TypeError, match="no parameters of type"):
        parameterNodeWrapper(type("P", (), {"__annotations__": {"x": set}}))
    with pytest.raises(ValueError, match="taken"):
        parameterNodeWrapper(type("P", (), {"__annotations__": {"Modified": int}}))
