"""The chooser of studies, for scenes whose volumes came from DICOM: the model's inputs are looked for in one study."""

from collections.abc import Callable

from slicer.i18n import tr as _


class StudyChoice:
    """Fills the study widgets of `ui`; hidden while no volume belongs to a study.

    chosen: called with the subject hierarchy item of the study, 0 for any, when the user chooses; never by `show`.
    """

    def __init__(self, ui, chosen: Callable[[int], None]) -> None:
        self._label, self._selector = ui.studyLabel, ui.studySelector
        self._chosen = chosen
        self._studies: list[tuple[int, str]] | None = None
        self._selector.connect("currentIndexChanged(int)", self._index_changed)
        self.show([], 0)

    def show(self, studies: list[tuple[int, str]], current: int) -> None:
        """Offer (item, label) of each study and show the one that is current (0: any)."""
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
