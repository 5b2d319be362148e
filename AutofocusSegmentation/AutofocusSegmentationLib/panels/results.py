"""The results section: the structures and their volumes, views, the way to the Segment Editor and back, export."""

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ..export.dicom import DicomExporters, SlicerDicomExporters
from ..finetuning.held_out_view import hide_held_out
from ..models import manifest_of
from ..parameters import AutofocusSegmentationParameters
from ..results.result import Result
from ..results.structure_rows import StructureRow, structure_rows
from ..results.volumes_table import structure_volumes, table_of
from ..segments import nesting
from ..segments.study_record import find_images_again, reference_image
from ..segments.tags import mark_edits, other_results, results_in_scene
from ..segments.voxels import segment_volumes
from ..views import arrangement, display, editing, view_layers
from .export_controls import ExportControls
from .result_choice import ResultChoice
from .structure_table import StructureTable
from .texts import show_text
from .timers import one_shot
from .window import SlicerWindow


class ResultsPanel(VTKObservationMixin):
    """Shows in the widgets of Results.ui the segmentation that is the parameter node's result; the user can choose it.

    Names, colours, visibility and status follow the scene; volumes, edits and nesting, which need a look at all
    voxels, are examined when a result comes, on entering the module and on request, not at every stroke.

    window: Slicer's main window. exporters: Slicer's DICOM exporters; None for the real ones.
    """

    def __init__(self, ui_file: str, window: SlicerWindow, exporters: DicomExporters | None = None) -> None:
        super().__init__()
        self._window = window
        self._parameters: AutofocusSegmentationParameters | None = None
        self._segmentation = None
        self._unseen: list[Result] = []
        self._in_use = False
        self._manifest = None
        self._volumes: dict[str, float] = {}
        self._edited: list[str] = []
        self.widget = slicer.util.loadUI(ui_file)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self._choice = ResultChoice(self.ui, self._result_chosen)
        self._table = StructureTable(self.ui.resultsTable, self._row_selected, self._row_activated, self._row_toggled)
        self._export = ExportControls(self.ui, exporters or SlicerDicomExporters(), self._use)
        self._timer = one_shot(self._refresh)  # many events of the scene, one refresh
        for button, clicked in (
            (self.ui.show3DButton, self._show_3d_clicked), (self.ui.editButton, self._edit_clicked),
            (self.ui.viewsButton, self._views_clicked), (self.ui.updateButton, self._update_clicked),
            (self.ui.nestingButton, self._nesting_clicked),
        ):
            button.connect("clicked(bool)", self._use)
            button.connect("clicked(bool)", clicked)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self._node_removed)
        self._show(None)

    def set_parameters(self, parameters: AutofocusSegmentationParameters | None) -> None:
        """Show the result of this parameter node from now on; None lets go of the present one.

        If it has no result, as after a scene without one was added to this scene, the one that is shown stays.
        """
        if self._parameters is not None:
            self.removeObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
        self._parameters = parameters
        if parameters is not None:
            self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
        self._show((parameters.result or self._segmentation) if parameters else None)

    def run_began(self) -> None:
        """A first run has begun: results may be shown as they come, unless the user begins to work with one."""
        self._in_use = False

    def show_new(self, result: Result) -> None:
        """Choose a result that a run has just made, and arrange the views on it; a first one in 3D too.

        While the user works in another module, the views are left alone and a new segmentation is hidden until this
        module is entered. The result that is in the Segment Editor, or that the user has done something with since the
        first of the runs began, also stays the chosen one.
        """
        edited = editing.edited_segmentation() if self._window.shows_segment_editor() else None
        in_use = self._segmentation is not None and (self._in_use or edited is self._segmentation)
        waits = in_use and self._segmentation is not result.segmentation
        self._choice.announce(result.segmentation)
        if not waits:
            self._export.clear_message()
            self._show(result.segmentation)
        self._unseen.append(result)
        in_front = self._window.shows_this_module()
        if result.new and (waits or not in_front):
            result.segmentation.GetDisplayNode().SetVisibility(False)
        if in_front:
            self._show_unseen()
            if not waits:
                return
            self._refresh()
        text = _("{name} is ready: choose it under Results in Autofocus Segmentation.") if waits else _(
            "{name} is ready: it is shown when you open Autofocus Segmentation.")
        self._window.tell(text.format(name=result.segmentation.GetName()))

    def _show_unseen(self) -> None:
        """Arrange the views on the chosen result if it has come since the module was last seen."""
        unseen, self._unseen = self._unseen, []
        for result in unseen:
            if result.new and slicer.mrmlScene.IsNodePresent(result.segmentation):
                shown = result.segmentation.GetDisplayNode().GetVisibility()
                display.show_in_3d(result.segmentation, True)  # that it is shown, once it is chosen
                result.segmentation.GetDisplayNode().SetVisibility(shown)
        if self._segmentation is not None and self._segmentation in [result.segmentation for result in unseen]:
            self._arrange()

    def enter(self) -> None:
        """The user opens the module, perhaps back from the Segment Editor."""
        self._show(self._segmentation)
        self._show_unseen()

    def cleanup(self) -> None:
        """The module goes: leave no timer or observer behind."""
        self.set_parameters(None)
        self._timer.stop()
        self.removeObservers()

    # What is shown

    def _show(self, segmentation) -> None:
        """Show a segmentation that a job made; if it is None or no longer in the scene, the last one that is there."""
        if segmentation is None or not slicer.mrmlScene.IsNodePresent(segmentation):
            segmentation = next(reversed(results_in_scene()), None)
        if self._parameters is None:
            segmentation = None
        present = segmentation is not None
        if present:
            find_images_again(segmentation)  # a clone's; before the attention hears of the choice
        if segmentation is not self._segmentation:
            self._observe(segmentation)
        if self._parameters is not None and self._parameters.result is not segmentation:
            self._parameters.result = segmentation
        self.ui.resultsSection.setVisible(present)
        if present:
            self._manifest = manifest_of(segmentation)
            self._examine()
        self._export.show(segmentation)

    def _observe(self, segmentation) -> None:
        """Follow this segmentation node (or None) instead of the present one."""
        events = (
            (slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent, self._looks_changed),
            (slicer.vtkSegmentation.SegmentAdded, self._looks_changed),
            (slicer.vtkSegmentation.SegmentRemoved, self._looks_changed),
            (slicer.vtkSegmentation.SegmentModified, self._looks_changed),
            (slicer.vtkSegmentation.SegmentsOrderModified, self._looks_changed),
            (slicer.vtkSegmentation.SourceRepresentationModified, self._voxels_changed),
            (slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._voxels_changed),
        )
        for event, changed in events:
            if self._segmentation is not None:
                self.removeObserver(self._segmentation, event, changed)
            # One of the others is observed already, and a second observation would be refused.
            if segmentation is not None and not self.hasObserver(segmentation, event, changed):
                self.addObserver(segmentation, event, changed)
        self._segmentation = segmentation

    def _examine(self) -> None:
        """Look at all voxels: volumes, which segments were edited, whether they nest."""
        self._volumes = segment_volumes(self._segmentation)
        self._edited = mark_edits(self._segmentation)
        problem = None
        if self._edited and self._manifest is not None:
            problem = nesting.check_nesting(self._segmentation, self._manifest, self._edited)
        self.ui.nestingLabel.setText(problem.sentence() if problem else "")
        self.ui.nestingLabel.setVisible(problem is not None)
        self.ui.nestingButton.setVisible(problem is not None)
        self.ui.updateButton.setEnabled(False)
        self._refresh()

    def _refresh(self) -> None:
        """Bring the widgets in line with the scene, without a look at the voxels."""
        if self._segmentation is None:
            return
        self._segmentation.CreateDefaultDisplayNodes()  # someone may have deleted it
        table = table_of(self._segmentation)
        original = structure_volumes(table) if table else {}
        self._table.show(structure_rows(self._segmentation, self._manifest, self._volumes, original, self._edited))
        self._row_selected(self._table.row())
        self._choice.show(self._segmentation)
        looks, modified = slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent, vtk.vtkCommand.ModifiedEvent
        others = [(other, looks) for other in other_results(self._segmentation)]
        for node, event in others + [(view, modified) for view in view_layers.views()]:  # what they show is told
            if not self.hasObserver(node, event, self._looks_changed):
                self.addObserver(node, event, self._looks_changed)
        notes = self._segmentation.GetDescription() or ""
        show_text(self.ui.notesLabel, notes)
        self.ui.show3DButton.setChecked(display.is_shown_in_3d(self._segmentation))

    def _arrange(self) -> None:
        """Show the image and the slices through the result, or its selected structure, and hide other results."""
        hide_held_out()  # else a test case's contours would lie over this image
        display.show_alone(self._segmentation)
        image, row = reference_image(self._segmentation), self._table.row()
        self._window.show_slices_and_3d()
        if image is not None:
            arrangement.show_behind(image)
        else:
            arrangement.show_no_other_image(self._segmentation)
        if row is None or not arrangement.show_in_slices(self._segmentation, [row.segment_id]):
            arrangement.show_in_slices(self._segmentation)
        self._refresh()

    # The scene changes

    def _parameters_changed(self, caller, event) -> None:
        # During an import the node is half read, and writing to it would set off this event without end. After it
        # comes set_parameters.
        if slicer.mrmlScene.IsImporting():
            return
        if self._parameters is not None and self._parameters.result is not self._segmentation:
            self._show(self._parameters.result)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_removed(self, caller, event, node) -> None:
        if node is self._segmentation:
            self._show(None)

    def _looks_changed(self, caller, event) -> None:
        self._timer.start()

    def _voxels_changed(self, caller, event) -> None:
        self.ui.updateButton.setEnabled(True)
        self._export.clear_message()  # it was about other voxels

    # Clicks

    def _use(self, value=None) -> None:
        self._in_use = True  # a new result must not take this one's place under the next click

    def _result_chosen(self, segmentation) -> None:
        self._use()
        self._show(segmentation)
        self._arrange()

    def _row_selected(self, row: StructureRow | None) -> None:
        text = " ".join(part for part in (row.definition, row.remarks) if part) if row else ""
        show_text(self.ui.definitionLabel, text)

    def _row_activated(self, row: StructureRow) -> None:
        self._use()
        hide_held_out()
        image = reference_image(self._segmentation)
        if not self._segmentation.GetDisplayNode().GetVisibility():
            self._arrange()
            return
        if image is not None:
            arrangement.show_behind(image, kept_of=self._segmentation)
        arrangement.show_in_slices(self._segmentation, [row.segment_id])

    def _row_toggled(self, row: StructureRow, shown: bool) -> None:
        self._use()
        hide_held_out()
        display.set_visible(self._segmentation, row.segment_id, shown)

    def _show_3d_clicked(self, checked=False) -> None:
        hide_held_out()
        display.show_in_3d(self._segmentation, checked)

    def _views_clicked(self, checked=False) -> None:
        find_images_again(self._segmentation)  # it may have been loaded meanwhile
        self._export.update()
        self._arrange()

    def _update_clicked(self, checked=False) -> None:
        self._examine()

    def _nesting_clicked(self, checked=False) -> None:
        segmentation, manifest = self._segmentation, self._manifest  # a result may come while the question is open
        question = _("Change the segments of {name}? The Segment Editor cannot undo it. {what}").format(
            name=segmentation.GetName(), what=self.ui.nestingLabel.text)
        if self._window.confirm(question) and slicer.mrmlScene.IsNodePresent(segmentation):
            nesting.make_nested(segmentation, manifest)
            self._show(self._segmentation)

    def _edit_clicked(self, checked=False) -> None:
        hide_held_out()
        row = self._table.row()
        editing.prepare_segment_editor(
            self._segmentation, reference_image(self._segmentation), row.segment_id if row else "",
            overlap=editing.regions_overlap(self._segmentation, self._manifest),
        )
        self._window.choose_module("SegmentEditor")
