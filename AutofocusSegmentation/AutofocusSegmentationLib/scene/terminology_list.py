"""Our list of codes for Slicer; a structure's tag with them is made in afnet/models/terminology.py.

The codes themselves are in each model's model.json, with their source; the list in Resources/Terminologies holds
the same codes, so that Slicer's terminology selector knows them.
"""

from pathlib import Path

import slicer
import vtk

from afnet.models.terminology import TERMINOLOGY_CONTEXT

TERMINOLOGY_FILE = (
    Path(__file__).resolve().parents[2] / "Resources" / "Terminologies" / "AutofocusSegmentation.term.json"
)


def register_terminology() -> None:
    """Let Slicer's Terminologies module know our list of codes; a second call does nothing.

    If the list cannot be read, which Slicer logs, segments still carry their codes.
    """
    logic = slicer.modules.terminologies.logic()
    loaded = vtk.vtkStringArray()
    logic.GetLoadedTerminologyNames(loaded)
    if TERMINOLOGY_CONTEXT not in (loaded.GetValue(index) for index in range(loaded.GetNumberOfValues())):
        logic.LoadTerminologyFromFile(str(TERMINOLOGY_FILE))
