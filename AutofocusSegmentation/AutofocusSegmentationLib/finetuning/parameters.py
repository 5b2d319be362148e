"""The choices of the fine-tuning panel in the module's parameter node, saved with the scene."""

import enum
from collections.abc import Sequence
from typing import Annotated

from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from afnet.finetuning.request import HOLD_OUT_FROM

from ..parameters import Device
from .cases import TuningCase


class Tune(enum.Enum):
    """What may change; the value is the engine's `--tune`."""

    ATTENTION = "attention"
    LAST_BLOCKS = "last-blocks"
    ALL = "all"

    def label(self) -> str:
        """Text in the panel's chooser (called by the parameter node wrapper)."""
        return {
            Tune.ATTENTION: _("Attention and classifier (quickest)"),
            Tune.LAST_BLOCKS: _("Also the last layers (slower)"),
            Tune.ALL: _("Everything (slowest, needs many cases)"),
        }[self]


class HoldOut(enum.Enum):
    """Which cases are the test cases; the value is that of TuningChoices.hold_out."""

    AUTO = "auto"
    EACH = "each"
    CHOSEN = "chosen"
    NONE = "none"

    def label(self) -> str:
        """Text in the panel's chooser (called by the parameter node wrapper)."""
        return {
            HoldOut.AUTO: _("A third (below {count} cases: none)").format(count=HOLD_OUT_FROM),
            HoldOut.EACH: _("Each case in turn (for few cases; slow)"),
            HoldOut.CHOSEN: _("The cases ticked as Test"),
            HoldOut.NONE: _("No case (nothing is measured)"),
        }[self]


@parameterNodeWrapper
class FineTuningParameters:
    """Typed view of the module's parameter node. tuning_base: id of the model to start from; tuning_title: of the new
    one, empty for one made from the base's id. The device is that of the segmentation."""

    tuning_base: str = ""
    tuning_title: str = ""
    tune: Tune = Tune.ATTENTION
    hold_out: HoldOut = HoldOut.AUTO
    tuning_epochs: Annotated[int, WithinRange(1, 500)] = 20
    choose_epochs: bool = False
    device: Device = Device.AUTO


def hold_out_problem(parameters: FineTuningParameters, cases: Sequence[TuningCase]) -> str:
    """Say why the `cases` that are used cannot be divided as the parameters want; empty if they can."""
    hold_out, apart = parameters.hold_out, 0
    if hold_out is HoldOut.CHOSEN:
        apart = sum(case.hold_out for case in cases)
        if not 0 < apart < len(cases):
            return _("Tick at least one test case, and leave at least one case to learn from.")
    if hold_out is HoldOut.EACH and len(cases) < 2:
        return _("Testing on each case in turn needs two cases or more: add cases.")
    if parameters.choose_epochs and hold_out is HoldOut.EACH:
        return _("Testing on each case in turn needs a number of passes: untick Choose automatically under Training "
                 "settings.")
    if parameters.choose_epochs and len(cases) - apart < 2:
        return _("Choosing the number of passes needs two cases or more to learn from: add cases, or untick Choose "
                 "automatically under Training settings.")
    return ""


def hold_out_warning(parameters: FineTuningParameters, cases: Sequence[TuningCase]) -> str:
    """Say that nobody will know whether the new model is better, where the choice does not say so; empty elsewhere."""
    if parameters.hold_out is not HoldOut.AUTO or not 0 < len(cases) < HOLD_OUT_FROM:
        return ""
    if len(cases) == 1:
        return _("With one case nothing is measured: that needs two or more.")
    if parameters.choose_epochs:  # which goes with a third or with ticked cases only
        return _("With so few cases nothing is measured: untick Choose automatically under Training settings, then "
                 "choose Each case in turn under Test on.")
    return _("With so few cases nothing is measured: under Test on, choose Each case in turn.")
