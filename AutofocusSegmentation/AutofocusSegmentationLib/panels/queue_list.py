"""The list of studies that run, wait or have ended, shown when there is more than one."""

from collections.abc import Callable

from slicer.i18n import tr as _

from ..job_queue import QueuedStudy


class QueueList:
    """Fills the queue widgets of `ui`. remove: called with the study that the user takes out of the list."""

    def __init__(self, ui, remove: Callable[[QueuedStudy], None]) -> None:
        self._ui = ui
        self._remove = remove
        self._entries: list[QueuedStudy] = []
        ui.queueList.connect("currentRowChanged(int)", self._row_changed)
        ui.removeButton.connect("clicked(bool)", self._remove_clicked)
        self.show([])

    def show(self, entries: list[QueuedStudy]) -> None:
        """Show these studies, the first to run at the top; the chosen row stays chosen."""
        row = self._ui.queueList.currentRow
        chosen = self._entries[row] if 0 <= row < len(self._entries) else None
        self._entries = list(entries)
        self._ui.queueList.blockSignals(True)
        self._ui.queueList.clear()
        for entry in self._entries:
            self._ui.queueList.addItem(_text(entry))
        self._ui.queueList.setCurrentRow(self._entries.index(chosen) if chosen in self._entries else -1)
        self._ui.queueList.blockSignals(False)
        self._ui.queueArea.setVisible(len(self._entries) > 1)
        self._row_changed(self._ui.queueList.currentRow)

    def _row_changed(self, row: int) -> None:
        entry = self._entries[row] if 0 <= row < len(self._entries) else None
        runs = entry is not None and entry.job is not None and entry.outcome is None
        self._ui.removeButton.setEnabled(entry is not None and not runs)
        self._ui.removeButton.setToolTip(
            _("The chosen segmentation runs: Cancel ends it.") if runs
            else _("Take the chosen segmentation out of the list."))

    def _remove_clicked(self, checked=False) -> None:
        row = self._ui.queueList.currentRow
        if 0 <= row < len(self._entries):
            self._remove(self._entries[row])


def _text(entry: QueuedStudy) -> str:
    """Return 'Waiting: CT pelvis, Male pelvis on CT'; for one that failed also why."""
    if entry.outcome is None:
        state = _("Running") if entry.job else _("Waiting")
    else:
        state = {"done": _("Done"), "cancelled": _("Cancelled"), "failed": _("Failed")}[entry.outcome.kind]
    text = _("{state}: {title}").format(state=state, title=entry.title)
    failed = entry.outcome is not None and entry.outcome.kind == "failed"
    return f"{text}\n{entry.outcome.message}" if failed else text
