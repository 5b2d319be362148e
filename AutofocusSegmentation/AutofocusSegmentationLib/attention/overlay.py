"""One attention map over all slice views, and back to what was there. Through MRML nodes alone."""

from ..scene import hierarchy
from ..scene.volumes import is_attention_map
from ..segments.study_record import is_of_study
from ..views import view_layers
from ..views.view_layers import BACKGROUND, FOREGROUND, LentLayers, shown, views

LINKED_BEFORE = "AutofocusSegmentation.LinkedBefore"
"""Attribute of a slice composite node while it shows a map: whether it was linked before."""


def show(volume, opacity: float, segmentation, background) -> None:
    """Put a map into the foreground of every slice view, with `opacity` 0…1, and link the views.

    background: volume (or None) behind it, in views that show none of the study that `segmentation` was made of. An
    image that is known to be another patient's is not kept in mind: it must not come back below the contours, or over
    this patient's image.
    """
    def is_strangers(before) -> bool:
        return hierarchy.is_foreign(before, segmentation if background is None else background)

    _layers.begin()
    for view in views():
        if not _layers.has(view):
            view.SetAttribute(LINKED_BEFORE, "1" if view.GetLinkedControl() else "0")
            if is_strangers(shown(view, FOREGROUND)):
                view_layers.show(view, FOREGROUND, None)
        view_layers.forget_before(view, FOREGROUND, is_strangers)
        _layers.put(view, FOREGROUND, volume)
        behind = shown(view, BACKGROUND)
        if background is not None and behind is not background and not is_of_study(behind, segmentation):
            if hierarchy.known_apart(behind, background):
                view_layers.show(view, BACKGROUND, background)
                view_layers.keep(view, BACKGROUND)
            else:
                _layers.put(view, BACKGROUND, background)
        view.SetForegroundOpacity(opacity)
        view.SetLinkedControl(True)


def set_opacity(opacity: float) -> None:
    """Change the opacity of the map in the views that show one."""
    for view in views():
        if _shows_map(view):
            view.SetForegroundOpacity(opacity)


def hide() -> None:
    """Give the views that show a map the layers, opacity and link that they had. Views changed since stay so."""
    for view in views():
        if _layers.has(view):
            view.SetLinkedControl(view.GetAttribute(LINKED_BEFORE) == "1")
        _layers.give_back(view)
        view.RemoveAttribute(LINKED_BEFORE)


def shown_map():
    """Return the attention map that a slice view shows; None if none does."""
    return next((shown(view, FOREGROUND) for view in views() if _shows_map(view)), None)


def _shows_map(view) -> bool:
    volume = shown(view, FOREGROUND)
    return volume is not None and is_attention_map(volume)


_layers = LentLayers("AutofocusSegmentation.Map", FOREGROUND, end=hide)
