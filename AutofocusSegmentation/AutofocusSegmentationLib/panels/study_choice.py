"""The chooser of studies, for scenes whose volumes came from DICOM: the model's inputs are looked for in one study."""

from collections.abc import Callable, Iterable

from slicer.i18n import tr as _

from ..scene import hierarchy


class StudyChoice:
    """Fills the study widgets of `ui`; hidden while no volume belongs to a study.

    on_chosen: called when the user chooses a study; never by `show`. Everywhere, volume_nodes are those of the scene,
    and inputs the chosen volume nodes, None where none is.
    """

    def __init__(self, ui, on_chosen: Callable[[], None]) -> None:
        self._label, self._selector = ui.studyLabel, ui.studySelector
        self._on_chosen = on_chosen
        self._studies: list[tuple[int, str]] | None = None
        self.chosen: int | None = None
        """Subject hierarchy item of the study that the user chose; 0: any; None: no choice."""
        self._selector.connect("currentIndexChanged(int)", self._index_changed)
        self.show([], [])

    def forget(self) -> None:
        """The scene is another: nothing was chosen in it."""
        self.chosen = None

    def input_chosen(self) -> None:
        """The user chose an input by hand: the study no longer holds. Any does, which no volume contradicts."""
        if self.chosen:
            self.chosen = None

    def model_chosen(self, volume_nodes: Iterable, inputs: Iterable) -> None:
        """Keep the study for another model if the inputs are still of it: a script may have filled them otherwise."""
        self.chosen = self.chosen and (self.restriction(volume_nodes, inputs) or None)

    def restriction(self, volume_nodes: Iterable, inputs: Iterable) -> int:
        """Return the study that the user chose, while it has volumes and is that of the filled inputs; 0: any."""
        filled = {hierarchy.study_item(node) for node in inputs if node is not None}
        there = self.chosen in dict(hierarchy.studies(volume_nodes))
        return self.chosen if there and (not filled or filled - {0} == {self.chosen}) else 0

    def show(self, volume_nodes: Iterable, inputs: Iterable) -> None:
        """Offer the studies of `volume_nodes`, and show that of the inputs: what is segmented.

        The one that the user chose is shown while it fills no input; 0, any, always.
        """
        studies = hierarchy.studies(volume_nodes)
        current = 0
        if self.chosen != 0:
            current = _study_of([node for node in inputs if node is not None], self.chosen or 0)
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
            self.chosen = [0, *(item for item, _label in self._studies)][index]
            self._on_chosen()


def _study_of(filled: list, chosen: int) -> int:
    """Return the study of the filled inputs; 0, any, if they are of several, or of none that is known."""
    found = {hierarchy.study_item(node) for node in filled} - {0} if filled else {chosen}
    return found.pop() if len(found) == 1 else 0
