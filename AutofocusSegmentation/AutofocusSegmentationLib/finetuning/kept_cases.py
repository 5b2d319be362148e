"""The list of cases in the module's parameter node, saved with the scene."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from .cases import TuningCase, joined
from .parameters import FineTuningParameters

_CASES = "FineTuning.Cases"
_ROLE = "FineTuning.Case"
"""Roles of a case's nodes: `FineTuning.Case1.segmentation`, `FineTuning.Case1.input.ct`."""


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
    cases = joined(listed, added if parameters.tuning_base == base_id else [])
    parameters.tuning_base = base_id
    remember_cases(parameters.parameterNode, cases)
    return cases
