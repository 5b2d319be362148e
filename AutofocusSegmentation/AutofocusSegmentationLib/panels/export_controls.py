"""The export part of the results section: folder, name, one button a format, and what came of it."""

from collections.abc import Callable
from pathlib import Path

import qt
import slicer

from afnet.output.segment_tags import MODEL_ID

from ..export.dicom import DicomExporters, export_rtstruct, export_seg
from ..export.files import Exported, export_nifti, export_nrrd, export_stl
from ..export.folder import ExportFailed
from ..models import manifest_of
from ..segments.study_record import find_images_again, reference_image
from .texts import literal, show_text

FOLDER_SETTING = "AutofocusSegmentation/ExportFolder"


class ExportControls:
    """Connects the export widgets of Results.ui with a segmentation. exporters: Slicer's DICOM exporters.

    on_use: called, perhaps with a value, when the user opens the section or does something in it.
    """

    def __init__(self, ui, exporters: DicomExporters, on_use: Callable[..., None]) -> None:
        self._ui = ui
        self._exporters = exporters
        self._segmentation = None
        self._tips = {}
        ui.exportFolderButton.directory = qt.QSettings().value(FOLDER_SETTING) or slicer.app.defaultScenePath
        ui.exportFolderButton.connect("directoryChanged(QString)", self._folder_chosen)
        for button, clicked in (
            (ui.exportSegButton, self._seg_clicked), (ui.exportRtButton, self._rtstruct_clicked),
            (ui.exportNrrdButton, self._nrrd_clicked), (ui.exportNiftiButton, self._nifti_clicked),
            (ui.exportStlButton, self._stl_clicked),
        ):
            button.connect("clicked(bool)", on_use)
            button.connect("clicked(bool)", clicked)
        ui.exportSection.connect("contentsCollapsed(bool)", on_use)
        ui.exportFolderButton.connect("directoryChanged(QString)", on_use)
        ui.exportNameEdit.connect("textEdited(QString)", on_use)
        for button in (ui.exportSegButton, ui.exportRtButton):
            self._tips[button] = button.toolTip
        self.clear_message()

    def show(self, segmentation) -> None:
        """Export this segmentation node (or None) from now on."""
        if segmentation is not self._segmentation:
            self.clear_message()
            if segmentation is not None:
                self._ui.exportNameEdit.setText(segmentation.GetAttribute(MODEL_ID) or "segmentation")
        self._segmentation = segmentation
        self.update()

    def clear_message(self) -> None:
        """Take back what was said of the latest export: the segmentation is another one now, or has other voxels."""
        self._say("")

    def update(self) -> None:
        """Disable what cannot be written now, with the reason in the tool tip and below the buttons."""
        if self._segmentation is None:
            return
        image = reference_image(self._segmentation)
        reasons = []
        for button, problem in (
            (self._ui.exportSegButton, self._exporters.seg_problem(image)),
            (self._ui.exportRtButton, self._exporters.rtstruct_problem(image)),
        ):
            button.setEnabled(not problem)
            button.setToolTip(literal(problem) or self._tips[button])
            reasons += [problem] if problem else []
        show_text(self._ui.exportReasonLabel, "\n".join(reasons))

    def _folder_chosen(self, folder: str) -> None:
        qt.QSettings().setValue(FOLDER_SETTING, folder)

    def _seg_clicked(self, checked=False) -> None:
        self._run(lambda node, folder, name: export_seg(
            self._exporters, node, reference_image(node), manifest_of(node), folder, name))

    def _rtstruct_clicked(self, checked=False) -> None:
        self._run(lambda node, folder, name: export_rtstruct(
            self._exporters, node, reference_image(node), manifest_of(node), folder, name))

    def _nrrd_clicked(self, checked=False) -> None:
        self._run(export_nrrd)

    def _nifti_clicked(self, checked=False) -> None:
        self._run(lambda node, folder, name: export_nifti(node, manifest_of(node), folder, name))

    def _stl_clicked(self, checked=False) -> None:
        self._run(export_stl)

    def _run(self, export) -> None:
        """Call export(segmentation, folder, name) and say what came of it."""
        find_images_again(self._segmentation)
        self.update()
        try:
            exported: Exported = export(
                self._segmentation, Path(self._ui.exportFolderButton.directory), self._ui.exportNameEdit.text)
            self._say(exported.sentence(self._segmentation))
        except ExportFailed as error:
            self._say(str(error))

    def _say(self, text: str) -> None:
        show_text(self._ui.exportMessageLabel, text)
