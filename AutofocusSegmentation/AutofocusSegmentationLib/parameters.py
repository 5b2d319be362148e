"""The parameter node: what the user chose, saved with the scene."""

import enum
import sys
from typing import Annotated

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

CHOSEN_INPUT_ROLE = "Input."
"""Node reference role of an input is this followed by the input's name in the model's manifest: `Input.t1c`."""


class Device(enum.Enum):
    """Where the network runs. The parameter node stores the member's name."""

    AUTO = "auto"
    GPU = "gpu"
    CPU = "cpu"

    def label(self) -> str:
        """Text in the panel's chooser (called by the parameter node wrapper)."""
        return {Device.AUTO: _("Automatic"), Device.GPU: _("GPU"), Device.CPU: _("CPU")}[self]

    def argument(self) -> str:
        """Value for the engine's `--device`; a Mac's GPU is called mps there."""
        if self is Device.GPU:
            return "mps" if sys.platform == "darwin" else "cuda"
        return self.value


class Memory(enum.Enum):
    """How much memory the network may take. The parameter node stores the member's name."""

    AUTO = None
    GB1 = "1GB"
    GB2 = "2GB"
    GB4 = "4GB"
    GB8 = "8GB"
    GB16 = "16GB"

    def label(self) -> str:
        """Text in the panel's chooser."""
        return _("Automatic") if self is Memory.AUTO else self.value.replace("GB", " GB")


class Precision(enum.Enum):
    """Number type of the computation. The parameter node stores the member's name."""

    AUTO = None
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"

    def label(self) -> str:
        """Text in the panel's chooser."""
        return {Precision.AUTO: _("Automatic"), Precision.FLOAT32: _("Exact (32 bit)"),
                Precision.BFLOAT16: _("Fast (16 bit)")}[self]


@parameterNodeWrapper
class AutofocusSegmentationParameters:
    """Typed view of the module's parameter node.

    model: id of the chosen model, empty before the first choice.
    output: segmentation to write into; None makes a new one.
    result: what the last finished segmentation made.
    attention_layer: number of the layer whose attention is looked at, 0 for the last one. attention_map: 'focus' or
    'rate6' … attention_opacity: of the map over the images, 0…1. attention_shown: whether the slice views show it.
    The inputs are node references of their own (`input_node`), for their number depends on the model.
    """

    model: str = ""
    device: Device = Device.AUTO
    memory: Memory = Memory.AUTO
    precision: Precision = Precision.AUTO
    output: slicer.vtkMRMLSegmentationNode
    result: slicer.vtkMRMLSegmentationNode
    attention_layer: int = 0
    attention_map: str = "focus"
    attention_opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    attention_shown: bool = False

    def input_node(self, name: str):
        """Return the volume node chosen for the input `name`, or None."""
        return self.parameterNode.GetNodeReference(CHOSEN_INPUT_ROLE + name)

    def set_input_node(self, name: str, node) -> None:
        """Choose `node` (a volume node or None) for the input `name`."""
        self.parameterNode.SetNodeReferenceID(CHOSEN_INPUT_ROLE + name, node.GetID() if node else None)
