"""Background and foreground of the slice views, put there for good or for a while, and back to what was there.

One purpose at a time has the views: what the one before put there ends when the next one begins.

What a view showed before is kept on its slice composite node, and so with the scene: it can be put back after the scene
was saved and loaded meanwhile.
"""

from collections.abc import Callable

import slicer

BACKGROUND, FOREGROUND = "Background", "Foreground"

_NOTHING = "nothing"

_borrowers: list["LentLayers"] = []


class LentLayers:
    """Layers of slice views (vtkMRMLSliceCompositeNode) that one purpose has for a while.

    purpose: begins the names of the attributes and node references on the views, such as 'AutofocusSegmentation.Map'.
    main_layer: if the user has changed it, the other layer is not given back either.
    end: takes away what this purpose shows, and gives the views back; does nothing if it shows nothing.
    """

    def __init__(self, purpose: str, main_layer: str, end: Callable[[], None]) -> None:
        self._purpose, self._main_layer, self._end = purpose, main_layer, end
        _borrowers.append(self)

    def begin(self) -> None:
        """End what other purposes show: it is not of the same study, and they would give back what is shown now."""
        for other in _borrowers:
            if other is not self:
                other._end()

    def put(self, view, layer: str, volume) -> None:
        """Show `volume` (None: nothing) in BACKGROUND or FOREGROUND of a view, which is kept in mind as it was."""
        if not self._has(view, layer):
            view.SetNodeReferenceID(self._name(layer, "Before"), _shown_id(view, layer))
            if layer == FOREGROUND:
                view.SetAttribute(self._name(layer, "OpacityBefore"), repr(view.GetForegroundOpacity()))
        # Both: the reference follows a scene that gives the volume another id, the attribute outlives the volume.
        view.SetAttribute(self._name(layer, "Put"), volume.GetID() if volume is not None else _NOTHING)
        view.SetNodeReferenceID(self._name(layer, "Put"), volume.GetID() if volume is not None else None)
        show(view, layer, volume)

    def has(self, view) -> bool:
        """Tell whether the main layer of a view shows what was put there, or nothing because that was deleted."""
        return self._has(view, self._main_layer)

    def give_back(self, view) -> None:
        """Show in a view what was there, with the opacity. A layer that the user changed since stays so."""
        lent = [layer for layer in (BACKGROUND, FOREGROUND) if self.has(view) and self._has(view, layer)]
        for layer in lent:
            show(view, layer, view.GetNodeReference(self._name(layer, "Before")))
        if FOREGROUND in lent:
            view.SetForegroundOpacity(float(view.GetAttribute(self._name(FOREGROUND, "OpacityBefore")) or 0.0))
        for layer in (BACKGROUND, FOREGROUND):
            self.forget(view, layer)

    def forget(self, view, layer: str) -> None:
        """What a layer of a view shows now is there for good: it will not be given back."""
        for what in ("Before", "Put"):
            view.SetNodeReferenceID(self._name(layer, what), None)
        for what in ("Put", "OpacityBefore"):
            view.RemoveAttribute(self._name(layer, what))

    def forget_before(self, view, layer: str, unwanted: Callable[[object], bool]) -> None:
        """Let a layer of a view be given back empty if `unwanted` says so of the volume node that was there."""
        before = view.GetNodeReference(self._name(layer, "Before"))
        if before is not None and unwanted(before):
            view.SetNodeReferenceID(self._name(layer, "Before"), None)

    def _has(self, view, layer: str) -> bool:
        if view.GetAttribute(self._name(layer, "Put")) is None:
            return False
        put = view.GetNodeReference(self._name(layer, "Put"))
        return _shown_id(view, layer) == (put.GetID() if put is not None else None)

    def _name(self, layer: str, what: str) -> str:
        return f"{self._purpose}{layer}{what}"


def views() -> list:
    """Return the composite nodes of all slice views."""
    return list(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"))


def backgrounds() -> list:
    """Return the volume nodes behind the slice views, each once; without views that the layout does not show."""
    mapped = {node.GetLayoutName(): node.IsMappedInLayout() for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    volumes = [shown(view, BACKGROUND) for view in views() if mapped.get(view.GetLayoutName(), True)]
    return list(dict.fromkeys(volume for volume in volumes if volume is not None))


def show(view, layer: str, volume) -> None:
    """Show a volume node (None: nothing) in a layer of a view, which is fitted to another background."""
    if volume is None:
        getattr(view, f"Set{layer}VolumeID")(None)
        return
    another = _shown_id(view, layer) != volume.GetID()
    getattr(view, f"Set{layer}VolumeID")(volume.GetID())
    logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(view.GetLayoutName())
    if layer == BACKGROUND and another and logic is not None:
        logic.FitSliceToBackground()


def keep(view, layer: str) -> None:
    """Let a layer of a view be what it is now, whatever purpose had put it there."""
    for borrower in _borrowers:
        borrower.forget(view, layer)


def forget_before(view, layer: str, unwanted: Callable[[object], bool]) -> None:
    """Let no purpose give back to a layer of a view a volume node of which `unwanted` says so."""
    for borrower in _borrowers:
        borrower.forget_before(view, layer, unwanted)


def shown(view, layer: str):
    """Return the volume node that a layer of a view shows; None if none."""
    return slicer.mrmlScene.GetNodeByID(_shown_id(view, layer) or "")


def _shown_id(view, layer: str) -> str | None:
    return getattr(view, f"Get{layer}VolumeID")()
