"""The chooser of studies, for scenes whose volumes came from DICOM: the model's inputs are looked for in one study."""

from collections.abc import Callable, Iterable

from slicer.i18n import tr as _

from .. import hierarchy


class StudyChoice:
    """Fills the study widgets of `ui`; hidden while no volume belongs to a study.

    chosen: called with the subject hierarchy item of the study, 0 for any, when the user chooses; never by `show`.
    """

    def __init__(self, ui, chosen: Callable[[int], None]) -> None:
        self._label, self._selector = ui.studyLabel, ui.studySelector
        self._chosen = chosen
        self._studies: list[tuple[int, str]] | None = None
        self._selector.connect("currentIndexChanged(int)", self._index_changed)
        self.show([], [], None)

    def show(self, volume_nodes: Iterable, inputs: Iterable, chosen: int | None) -> None:
        """Offer the studies of `volume_nodes`, and show that of the inputs (volume nodes or None): what is segmented.

        chosen: the study that the user chose, None for none. It is shown while it fills no input; 0, any, always.
        """
        studies = hierarchy.studies(volume_nodes)
        current = 0 if chosen == 0 else _study_of([node for node in inputs if node is not None], chosen or 0)
        self._selector.blockSignals(True)
        if studies != self._studies:
            self._studies = studies
            self._selector.clear()
            for _item, label in [(0, _("Any")), *studies]:
                self._selector.addItem(label)
        items = [0, *(item for item, _label in studies)]
        self._selector.setCurrentIndex(items.index(current) if current in items else 0)
        self._selector.blockSignals(False)
        for widget in (self._label, self._selector):
            widget.setVisible(bool(studies))

    def _index_changed(self, index: int) -> None:
        if index >= 0:
            self._chosen([0, *(item for item, _label in self._studies)][index])


def _study_of(filled: list, chosen: int) -> int:
    """Return the study of the filled inputs; 0, any, if they are of several, or of none that is known."""
    found = {hierarchy.study_item(node) for node in filled} - {0} if filled else {chosen}
    return found.pop() if len(found) == 1 else 0
