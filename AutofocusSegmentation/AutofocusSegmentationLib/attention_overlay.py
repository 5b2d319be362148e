"""One attention map over all slice views, and back to what was there. Through MRML nodes alone.

What each view showed before is kept on its slice composite node, and so with the scene: it can be put back after the
scene was saved and loaded while a map was shown.
"""

import slicer

from .volumes import is_attention_map

FOREGROUND_ROLE = "AutofocusSegmentation.ForegroundBefore"
"""Node reference from a slice composite node to the foreground volume that it had."""

OPACITY_BEFORE = "AutofocusSegmentation.ForegroundOpacityBefore"
LINKED_BEFORE = "AutofocusSegmentation.LinkedBefore"
MAP_SHOWN = "AutofocusSegmentation.MapShown"
"""Attributes of a slice composite node; present while it shows a map. The last one is the id of the map."""


def show(volume, opacity: float, background=None) -> None:
    """Put a map into the foreground of every slice view, with `opacity` 0…1, and link the views.

    background: volume for views that show none.
    """
    for view in _views():
        if not _is_ours(view):
            _remember(view)
        view.SetAttribute(MAP_SHOWN, volume.GetID())
        if view.GetForegroundVolumeID() != volume.GetID():
            view.SetForegroundVolumeID(volume.GetID())
        if view.GetBackgroundVolumeID() is None and background is not None:
            view.SetBackgroundVolumeID(background.GetID())
        view.SetForegroundOpacity(opacity)
        view.SetLinkedControl(True)


def set_opacity(opacity: float) -> None:
    """Change the opacity of the map in the views that show one."""
    for view in _views():
        if _shows_map(view):
            view.SetForegroundOpacity(opacity)


def hide() -> None:
    """Give the views that show a map the foreground, opacity and link that they had. Views changed since stay so."""
    for view in _views():
        if _is_ours(view):
            before = view.GetNodeReference(FOREGROUND_ROLE)
            view.SetForegroundVolumeID(before.GetID() if before is not None else None)
            view.SetForegroundOpacity(float(view.GetAttribute(OPACITY_BEFORE) or 0.0))
            view.SetLinkedControl(view.GetAttribute(LINKED_BEFORE) == "1")
        view.SetNodeReferenceID(FOREGROUND_ROLE, None)
        for name in (OPACITY_BEFORE, LINKED_BEFORE, MAP_SHOWN):
            view.RemoveAttribute(name)


def shown_map():
    """Return the attention map that a slice view shows; None if none does."""
    shown = (slicer.mrmlScene.GetNodeByID(view.GetForegroundVolumeID()) for view in _views() if _shows_map(view))
    return next(shown, None)


def _views() -> list:
    return list(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"))


def _shows_map(view) -> bool:
    identifier = view.GetForegroundVolumeID()
    volume = slicer.mrmlScene.GetNodeByID(identifier) if identifier else None
    return volume is not None and is_attention_map(volume)


def _is_ours(view) -> bool:
    """Tell whether a view shows a map, or nothing because the map that it showed was deleted."""
    last = view.GetAttribute(MAP_SHOWN)
    deleted = last is not None and slicer.mrmlScene.GetNodeByID(last) is None
    return _shows_map(view) or (deleted and view.GetForegroundVolumeID() is None)


def _remember(view) -> None:
    view.SetNodeReferenceID(FOREGROUND_ROLE, view.GetForegroundVolumeID())
    view.SetAttribute(OPACITY_BEFORE, repr(view.GetForegroundOpacity()))
    view.SetAttribute(LINKED_BEFORE, "1" if view.GetLinkedControl() else "0")
