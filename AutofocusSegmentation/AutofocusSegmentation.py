"""The classes Slicer looks for; what they do is in AutofocusSegmentationLib. The network runs in another process."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from AutofocusSegmentationLib import logic, models, sample_data
from AutofocusSegmentationLib.engine import doctor
from AutofocusSegmentationLib.finetuning.parameters import FineTuningParameters
from AutofocusSegmentationLib.inputs import guessing
from AutofocusSegmentationLib.parameters import AutofocusSegmentationParameters, Device
from AutofocusSegmentationLib.results.result import Result
from AutofocusSegmentationLib.scene import terminology_list


class AutofocusSegmentation(ScriptedLoadableModule):
    """What the module says about itself."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Autofocus Segmentation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "Terminologies"]
        parent.contributors = ["AutofocusSegmentation contributors"]
        parent.helpText = _(
            "Segments the organs of the male pelvis on CT and gliomas on four MRI sequences with networks whose layers "
            "choose their own scale (autofocus convolution). Load the images, choose the model and press Segment. "
            "For research; not for clinical use."
        )
        parent.acknowledgementText = _(
            "The method: Qin Y. et al., Autofocus Layer for Semantic Segmentation, MICCAI 2018."
        )
        slicer.app.connect("startupCompleted()", terminology_list.register_terminology)
        slicer.app.connect("startupCompleted()", sample_data.register_sample_data)


class AutofocusSegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's window: its panels, and what happens to the scene around them."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        super().setup()
        # Here, not at file scope: a Slicer without a window imports this file too.
        from AutofocusSegmentationLib.engine.one_engine import OneEngine
        from AutofocusSegmentationLib.engine.torch_installer import SlicerTorchInstaller
        from AutofocusSegmentationLib.panels.attention import AttentionPanel
        from AutofocusSegmentationLib.panels.finetune import FineTunePanel
        from AutofocusSegmentationLib.panels.first_use import FirstUsePanel
        from AutofocusSegmentationLib.panels.models import ModelsPanel
        from AutofocusSegmentationLib.panels.results import ResultsPanel
        from AutofocusSegmentationLib.panels.segment import SegmentPanel
        from AutofocusSegmentationLib.panels.window import ApplicationWindow

        def ui_file(name: str) -> str:
            return self.resourcePath(f"UI/{name}.ui")

        ui_widget = slicer.util.loadUI(ui_file("AutofocusSegmentation"))
        ui_widget.setMRMLScene(slicer.mrmlScene)
        self.layout.addWidget(ui_widget)
        self.ui = slicer.util.childWidgetVariables(ui_widget)
        self.logic = AutofocusSegmentationLogic()
        self.one_engine = one_engine = OneEngine(in_process=True)
        # A window for each panel, for each asks before Slicer closes over its own job.
        self.segment_panel = SegmentPanel(
            ui_file("Segment"), ApplicationWindow(), one_engine, lambda: self.make_engine(), self._look_again)
        self.results_panel = ResultsPanel(ui_file("Results"), ApplicationWindow())
        self.segment_panel.on_result = self._result_came
        self.segment_panel.run.on_started = self.results_panel.run_began
        self.attention_panel = AttentionPanel(
            ui_file("Attention"), ApplicationWindow(), one_engine, log=self.segment_panel.ui.logText.appendPlainText,
            make_engine=lambda: self.make_engine(),
        )
        self.finetune_panel = FineTunePanel(
            ui_file("FineTune"), ApplicationWindow(), one_engine, self._look_again, lambda: self.make_engine())
        self.models_panel = ModelsPanel(ui_file("Models"), ApplicationWindow(), one_engine, self._look_again)
        self.first_use_panel = FirstUsePanel(
            ui_file("FirstUse"), ApplicationWindow(), one_engine, SlicerTorchInstaller(), self._look_again)
        for panel in (
            self.first_use_panel, self.segment_panel, self.results_panel, self.attention_panel, self.finetune_panel,
            self.models_panel,
        ):
            self.ui.panelArea.layout().addWidget(panel.widget)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        self._set_parameters()

    def cleanup(self):
        self.removeObservers()
        self.segment_panel.cleanup()
        self.results_panel.cleanup()
        self.attention_panel.cleanup()
        self.finetune_panel.cleanup()
        self.one_engine.close()

    def onReload(self):
        """Developers' button: load the library anew as well. A running job is cancelled, and the status bar says so."""
        for name in [name for name in sys.modules if name.partition(".")[0] in ("AutofocusSegmentationLib", "afnet")]:
            del sys.modules[name]
        super().onReload()

    def enter(self):
        self.first_use_panel.enter()
        self._look_again()

    def _look_again(self):
        """PyTorch or the models may have changed. The first-use section keeps what it says of an installation."""
        self.segment_panel.enter()
        self.results_panel.enter()
        self.attention_panel.enter()
        self.finetune_panel.enter()
        self.models_panel.refresh()

    def make_engine(self):
        """Return the process (an EngineProcess) of a panel's next job; None for the real one. Tests have their own."""
        return None

    def _result_came(self, result: Result):
        self.results_panel.show_new(result)
        self.attention_panel.segments_changed()

    def onSceneStartClose(self, caller, event):
        self.segment_panel.scene_about_to_close()
        self.results_panel.set_parameters(None)
        self.attention_panel.scene_about_to_close()
        self.finetune_panel.scene_about_to_close()

    def onSceneEndClose(self, caller, event):
        self._set_parameters()

    def onSceneEndImport(self, caller, event):
        self.finetune_panel.scene_imported()
        self._set_parameters()

    def _set_parameters(self):
        parameters = self.logic.getParameterNode()
        self.segment_panel.set_parameters(parameters)
        self.results_panel.set_parameters(parameters)
        self.attention_panel.set_parameters(parameters)
        self.finetune_panel.set_parameters(FineTuningParameters(parameters.parameterNode))


class AutofocusSegmentationLogic(ScriptedLoadableModuleLogic):
    """What scripts and other modules use; needs no window."""

    def getParameterNode(self) -> AutofocusSegmentationParameters:
        return AutofocusSegmentationParameters(super().getParameterNode())

    def models(self) -> list:
        """Return the models at hand (afnet.models.manifest.ModelEntry), bundled ones first."""
        return models.list_models()

    def segment(
        self,
        model: str | Path,
        inputs: Mapping[str, object],
        output=None,
        device: str = "auto",
        on_progress: Callable[[str, float, float | None], None] | None = None,
    ) -> Result:
        """Segment volume nodes and wait for the result.

        model: id ('pelvis-ct', 'brain-tumour-mri') or folder of a model. inputs: input name ('ct'; 't1', 't1c',
        't2', 'flair') to volume node. output: segmentation node to write into, None for a new one. device: auto,
        cuda, mps or cpu. on_progress(stage, fraction 0..1, seconds left or None).
        Returns the segmentation node, the table of volumes in ml and the report. Raises
        AutofocusSegmentationLib.logic.SegmentationFailed with one sentence; the scene is then unchanged.
        """
        return logic.segment(model, inputs, output, device, on_progress=on_progress)


class AutofocusSegmentationTest(ScriptedLoadableModuleTest):
    """Slicer's self-test: without PyTorch and network, all but the segmentation itself."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        for test in (self.test_models, self.test_guess_inputs, self.test_parameter_node, self.test_segment):
            self.setUp()
            test()
        self.delayDisplay(_("Test passed"))

    def test_models(self):
        """Every bundled model is usable and says for whom it was made."""
        entries = [entry for entry in AutofocusSegmentationLogic().models() if entry.bundled]
        self.assertEqual({entry.id for entry in entries}, {"brain-tumour-mri", "pelvis-ct"})
        for entry in entries:
            self.assertIsNone(entry.problem)
            self.assertTrue(entry.manifest.population)

    def test_guess_inputs(self):
        """Volumes find their slots by name, and none two slots."""
        nodes = {name: self._volume(f"BraTS_00001_{name}") for name in ("flair", "t1", "t1c", "t2")}
        guess = guessing.guess_inputs(models.model_called("brain-tumour-mri"), list(nodes.values()))
        self.assertEqual({name: node.GetName() for name, node in guess.items()},
                         {name: node.GetName() for name, node in nodes.items()})

    def test_parameter_node(self):
        """Choices are kept in the scene's parameter node."""
        volume = self._volume("CT")
        parameters = AutofocusSegmentationLogic().getParameterNode()
        parameters.model, parameters.device = "pelvis-ct", Device.CPU
        parameters.set_input_node("ct", volume)
        again = AutofocusSegmentationLogic().getParameterNode()
        self.assertEqual((again.model, again.device), ("pelvis-ct", Device.CPU))
        self.assertEqual(again.input_node("ct").GetID(), volume.GetID())

    def test_segment(self):
        """With PyTorch, the engine answers: an empty image is refused in one sentence and the scene stays."""
        if doctor.torch_problem():
            self.delayDisplay(doctor.torch_problem())
            return
        volume = self._volume("CT")
        before = slicer.mrmlScene.GetNumberOfNodes()
        with self.assertRaises(logic.SegmentationFailed):
            AutofocusSegmentationLogic().segment("pelvis-ct", {"ct": volume}, device="cpu")
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)

    def _volume(self, name: str):
        return slicer.util.addVolumeFromArray(np.zeros((8, 8, 8), np.int16), name=name)
