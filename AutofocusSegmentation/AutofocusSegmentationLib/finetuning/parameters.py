"""The choices of the fine-tuning panel in the module's parameter node, saved with the scene; its cases too."""

import contextlib
import enum
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from afnet.finetuning.request import HOLD_OUT_FROM

from ..parameters import Device
from .cases import TuningCase, joined

_CASES = "FineTuning.Cases"
_ROLE = "FineTuning.Case"
"""Roles of a case's nodes: `FineTuning.Case1.segmentation`, `FineTuning.Case1.input.ct`."""


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
    """Typed view of the module's parameter node. tuningBase: id of the model to start from; tuningTitle: of the new
    one, empty for one made from the base's id. The device is that of the segmentation."""

    tuningBase: str = ""
    tuningTitle: str = ""
    tune: Tune = Tune.ATTENTION
    holdOut: HoldOut = HoldOut.AUTO
    tuningEpochs: Annotated[int, WithinRange(1, 500)] = 20
    chooseEpochs: bool = False
    device: Device = Device.AUTO


def hold_out_problem(parameters: FineTuningParameters, cases: Sequence[TuningCase]) -> str:
    """Say why the `cases` that are used cannot be divided as the parameters want; empty if they can."""
    hold_out, apart = parameters.holdOut, 0
    if hold_out is HoldOut.CHOSEN:
        apart = sum(case.hold_out for case in cases)
        if not 0 < apart < len(cases):
            return _("Tick at least one test case, and leave at least one case to learn from.")
    if hold_out is HoldOut.EACH and len(cases) < 2:
        return _("Testing on each case in turn needs two cases or more: add cases.")
    if parameters.chooseEpochs and hold_out is HoldOut.EACH:
        return _("Testing on each case in turn needs a number of passes: untick Choose automatically under Training "
                 "settings.")
    if parameters.chooseEpochs and len(cases) - apart < 2:
        return _("Choosing the number of passes needs two cases or more to learn from: add cases, or untick Choose "
                 "automatically under Training settings.")
    return ""


def hold_out_warning(parameters: FineTuningParameters, cases: Sequence[TuningCase]) -> str:
    """Say that nobody will know whether the new model is better, where the choice does not say so; empty elsewhere."""
    if parameters.holdOut is not HoldOut.AUTO or not 0 < len(cases) < HOLD_OUT_FROM:
        return ""
    if len(cases) == 1:
        return _("With one case nothing is measured: that needs two or more.")
    if parameters.chooseEpochs:  # which goes with a third or with ticked cases only
        return _("With so few cases nothing is measured: untick Choose automatically under Training settings, then "
                 "choose Each case in turn under Test on.")
    return _("With so few cases nothing is measured: under Test on, choose Each case in turn.")


def remember_cases(node, cases: Sequence[TuningCase]) -> None:
    """Write the cases into a parameter node (vtkMRMLScriptedModuleNode). The engine's results are not kept."""
    modified = node.StartModify()
    stale = [node.GetNthNodeReferenceRole(n) for n in range(node.GetNumberOfNodeReferenceRoles())]
    for role in stale:
        if role.startswith(_ROLE):
            node.RemoveNodeReferenceIDs(role)
    entries = []
    for number, case in enumerate(cases, 1):
        entry = {
            "name": case.name, "source": case.source, "use": case.use, "hold_out": case.hold_out,
            "absent": sorted(case.absent), "mapping": case.mapping, "remark": case.remark,
        }
        if case.in_scene:
            node.SetNodeReferenceID(f"{_ROLE}{number}.segmentation", case.segmentation.GetID())
            for name, volume in case.inputs.items():
                if volume is not None:
                    node.SetNodeReferenceID(f"{_ROLE}{number}.input.{name}", volume.GetID())
            entry["inputs"] = list(case.inputs)
        else:
            entry["segmentation"] = str(case.segmentation)
            entry["inputs"] = {name: str(file) if file else None for name, file in case.inputs.items()}
        entries.append(entry)
    node.SetParameter(_CASES, json.dumps(entries))
    node.EndModify(modified)


def recall_cases(node) -> list[TuningCase]:
    """Return the cases of a parameter node; those whose segmentation is no longer in the scene are left out.

    So are those of which the text, which comes with a scene and may be damaged, does not say all.
    """
    try:
        entries = json.loads(node.GetParameter(_CASES) or "[]")
    except (ValueError, RecursionError):
        return []
    cases = []
    for number, entry in enumerate(entries if isinstance(entries, list) else [], 1):
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            case = _recalled(node, number, entry)
            cases += [case] if case.segmentation is not None else []
    return cases


def _recalled(node, number: int, entry: dict) -> TuningCase:
    """Return a case as `remember_cases` wrote it. Raises KeyError, TypeError, ValueError or AttributeError."""
    if isinstance(entry["inputs"], dict):
        segmentation = Path(entry["segmentation"])
        inputs = {name: Path(file) if file else None for name, file in entry["inputs"].items()}
    else:
        segmentation = node.GetNodeReference(f"{_ROLE}{number}.segmentation")
        inputs = {name: node.GetNodeReference(f"{_ROLE}{number}.input.{name}") for name in _texts(entry["inputs"])}
    name, source, remark = _texts([entry["name"], entry["source"], entry["remark"]])
    mapping = {segment: structure and str(structure) for segment, structure in entry["mapping"].items()}
    return TuningCase(name, source, inputs, segmentation, bool(entry["use"]), bool(entry["hold_out"]),
                      set(_texts(entry["absent"])), mapping, remark)


def _texts(values: list[str]) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError
    return values


def recall_behind(listed: Sequence[TuningCase], base_id: str, parameters: FineTuningParameters) -> list[TuningCase]:
    """Return `listed`, the cases before a scene was added, then that scene's; what is listed then is written too.

    The parameter node is a singleton, so the added scene's choices have replaced this one's. With `listed` their base
    model stays: the scene's cases of another have other inputs and structures, and stay for From scene.
    """
    added = recall_cases(parameters.parameterNode)
    if not listed:
        return added
    cases = joined(listed, added if parameters.tuningBase == base_id else [])
    parameters.tuningBase = base_id
    remember_cases(parameters.parameterNode, cases)
    return cases
