"""Slice and 3-D views drawn without a window, on slicer-core alone.

The structure (a VTK render window, the view's own logic and node, and Slicer's displayable managers in a group)
follows the views of trame-slicer (Kitware and contributors, Apache License 2.0); the code is our own.

    with SliceView(orientation="Axial") as view:
        view.show(volume)
        view.png("axial.png")

Pictures are arrays [row, column, RGB] of uint8, row 0 on top. Two pictures of one state are equal.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy


class _View:
    """A render window with a group of displayable managers, which draw what the scene holds."""

    _managers: tuple[str, ...] = ()
    _factory = ""

    def __init__(self, size: tuple[int, int]) -> None:
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(True)
        self.window.ShowWindowOff()
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self.window)
        self._interactor.Initialize()
        self._interactor.UpdateSize(*size)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._nodes: list = []
        self._tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, self._node_added)
        self._application_logic = slicer.app.applicationLogic()

    def _node_added(self, _scene, _event, node) -> None:
        if not node.IsA("vtkMRMLSubjectHierarchyNode"):
            self._nodes.append(node)

    _node_added.CallDataType = vtk.VTK_OBJECT

    def _start(self, view_node) -> None:
        """Show what belongs to `view_node`. Nodes added up to now are the view's own."""
        self.node = view_node
        self._group.SetMRMLDisplayableNode(view_node)
        slicer.mrmlScene.RemoveObserver(self._tag)

    def _start_managers(self) -> None:
        factory = getattr(slicer, self._factory).GetInstance()
        factory.SetMRMLApplicationLogic(self._application_logic)
        for name in self._managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self._group.Initialize(factory, self.renderer)

    def array(self) -> np.ndarray:
        """Draw, and return the picture."""
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.SetInputBufferTypeToRGB()
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, 3)[::-1].copy()

    def png(self, path: str | Path) -> Path:
        """Draw into a PNG file."""
        from PIL import Image

        Image.fromarray(self.array()).save(path)
        return Path(path)

    def close(self) -> None:
        """Let go of the scene; the view is of no use afterwards."""
        self._group.SetMRMLDisplayableNode(None)
        self._interactor.SetRenderWindow(None)
        self.window.Finalize()
        self._logics().RemoveItem(self.logic)
        self.logic.SetMRMLScene(None)  # first, for the logic makes its nodes anew when they go
        # Some are singletons: they would outlive Clear(0), and be saved with the next scene.
        for node in self._nodes:
            if slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()


class SliceView(_View):
    """`orientation`: Axial, Sagittal or Coronal. `size`: width, height in pixels."""

    _factory = "vtkMRMLSliceViewDisplayableManagerFactory"
    _managers = (
        "vtkMRMLVolumeGlyphSliceDisplayableManager",
        "vtkMRMLModelSliceDisplayableManager",
        "vtkMRMLSegmentationsDisplayableManager2D",
        "vtkMRMLMarkupsDisplayableManager",
        "vtkMRMLTransformsDisplayableManager2D",
        "vtkMRMLOrientationMarkerDisplayableManager",
        "vtkMRMLRulerDisplayableManager",
        "vtkMRMLScalarBarDisplayableManager",
        "vtkMRMLColorLegendDisplayableManager",
    )

    def __init__(self, orientation: str = "Axial", size: tuple[int, int] = (400, 400), name: str = "") -> None:
        super().__init__(size)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        overlay = vtk.vtkRenderer()
        overlay.SetLayer(1)
        overlay.GetActiveCamera().ParallelProjectionOn()
        self.window.SetNumberOfLayers(2)
        self.window.AddRenderer(overlay)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        # Before the managers' props: they are drawn in order, and a translucent fill blends with what is there.
        self._actor.SetVisibility(False)
        self.renderer.AddViewProp(self._actor)
        self._start_managers()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(self._application_logic)
        self._logics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        node = self.logic.AddSliceNode(name or orientation)
        node.SetOrientation(orientation)
        self._start(node)
        self.logic.ResizeSliceNode(*size)

    def show(self, background=None, foreground=None, label=None, opacity: float = 0.5) -> None:
        """Choose the volumes and fit the field of view to `background`. `opacity`: of the foreground, 0..1."""
        composite = self.logic.GetSliceCompositeNode()
        composite.SetBackgroundVolumeID(background.GetID() if background is not None else None)
        composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
        composite.SetLabelVolumeID(label.GetID() if label is not None else None)
        composite.SetForegroundOpacity(opacity)
        self.logic.FitSliceToBackground()
        self.logic.SnapSliceOffsetToIJK()

    def jump(self, ras: Iterable[float]) -> None:
        """Show the slice through a point (RAS, mm, world)."""
        self.node.JumpSliceByOffsetting(*ras)

    def array(self) -> np.ndarray:
        connection = self.logic.GetImageDataConnection()
        if connection is not None:
            self._mapper.SetInputConnection(connection)
        self._actor.SetVisibility(connection is not None)
        return super().array()

    def _logics(self):
        return self._application_logic.GetSliceLogics()


class ThreeDView(_View):
    """Surfaces, volume rendering, markups; `box`: the bounding box with the axes' letters."""

    _factory = "vtkMRMLThreeDViewDisplayableManagerFactory"
    _managers = (
        "vtkMRMLCameraDisplayableManager",
        "vtkMRMLViewDisplayableManager",
        "vtkMRMLModelDisplayableManager",
        "vtkMRMLThreeDReformatDisplayableManager",
        "vtkMRMLSegmentationsDisplayableManager3D",
        "vtkMRMLMarkupsDisplayableManager",
        "vtkMRMLVolumeRenderingDisplayableManager",
        "vtkMRMLOrientationMarkerDisplayableManager",
        "vtkMRMLRulerDisplayableManager",
    )

    def __init__(self, size: tuple[int, int] = (400, 400), box: bool = True, name: str = "1") -> None:
        super().__init__(size)
        self._start_managers()
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(self._application_logic)
        self._logics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        node = self.logic.AddViewNode(name)
        node.SetBoxVisible(box)
        node.SetAxisLabelsVisible(box)
        self._start(node)

    def fit(self, direction: int | None = None) -> None:
        """Bring all into view; `direction`: a vtkMRMLCameraNode.Direction, the side to look from."""
        self.renderer.ResetCamera()
        manager = self._group.GetDisplayableManagerByClassName("vtkMRMLCameraDisplayableManager")
        if direction is not None and manager.GetCameraNode() is not None:
            manager.GetCameraNode().RotateTo(direction)
        self.renderer.ResetCamera()
        self.renderer.ResetCameraClippingRange()

    def _logics(self):
        return self._application_logic.GetViewLogics()
