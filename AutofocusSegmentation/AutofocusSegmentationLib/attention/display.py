"""What of a subject's attention is shown: the chosen map over the slice views, and the measured focus. Without Qt.

Both act only on a change, for the user may change the views and the nodes too.
"""

from . import maps, overlay, statistics
from .colors import hide_legend, show_legend
from .maps import FOCUS
from .statistics import SegmentFocus
from .subject import Subject


class MapDisplay:
    """The map over the slice views, with its legend."""

    def __init__(self) -> None:
        self._shown: tuple[str, float] | None = None

    @property
    def replaced_by_user(self) -> bool:
        """Whether a map was shown and no view shows one any more."""
        return bool(self._shown and self._shown[0]) and overlay.shown_map() is None

    def shows(self, node) -> bool:
        """Whether this volume node, which may just have been deleted, is the map that was shown last."""
        return bool(self._shown) and self._shown[0] == node.GetID()

    def forget(self) -> None:
        """Look anew at what is shown, as for another scene or another subject."""
        self._shown = None

    def show(self, subject: Subject, layer: str, key: str, opacity: float) -> None:
        """Show one map of the subject; if it is not loaded, or `key` is empty, what was there before."""
        node = subject.maps.get((layer, key))
        before, self._shown = self._shown, (node.GetID() if node else "", opacity)
        if self._shown == before:
            return
        if before and before[0] == self._shown[0]:
            overlay.set_opacity(opacity)
            return
        for other in subject.maps.values():
            hide_legend(other)
        if node is None:
            overlay.hide()
            return
        overlay.show(node, opacity, subject.segmentation, subject.reference)
        # Rates rise in equal steps, so that as many labels as rates are their reaches.
        show_legend(node, maps.legend_title(key), len(subject.map_keys))


class FocusMeasurements:
    """The focus inside the segments, measured again when there are other maps or after `forget`.

    `uniform`: layer to its focus in mm, for layers that look equally far nearly everywhere.
    """

    def __init__(self) -> None:
        self.rows: list[SegmentFocus] = []
        self.uniform: dict[str, float] = {}
        self._measured_of: tuple = ()

    def forget(self) -> None:
        """The segments may have been edited."""
        self._measured_of = ()

    def update(self, subject: Subject) -> None:
        """Bring `rows`, and the table and chart nodes of the scene, up to date."""
        segmentation, focus = subject.segmentation, subject.focus_maps
        measured_of = (segmentation and segmentation.GetID(), *sorted(node.GetID() for node in focus.values()))
        if measured_of == self._measured_of:
            return
        self._measured_of = measured_of
        self.uniform = {}
        for layer, node in focus.items():
            value = statistics.uniform_focus(node, *maps.value_range(subject.manifest, FOCUS))
            if value is not None:
                self.uniform[layer] = value
        rows = statistics.measure(segmentation, focus) if focus else []
        if rows and rows != self.rows:
            statistics.fill_nodes(segmentation, subject.reference, rows)
        self.rows = rows
