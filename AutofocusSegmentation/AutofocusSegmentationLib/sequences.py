"""Volumes that are the proxy of a sequence: they show one frame of it, and change when it is played."""

import slicer
from slicer.i18n import tr as _


def current_frame(node) -> str:
    """Describe the frame that a sequence's proxy shows ('frame 3 of 10 (time 2 s)'); empty for other nodes."""
    scene = slicer.mrmlScene
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = scene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode")
        if not browser.IsProxyNodeID(node.GetID()):
            continue
        sequence = browser.GetMasterSequenceNode() or browser.GetSequenceNode(node)
        selected = browser.GetSelectedItemNumber()
        if sequence is None or not 0 <= selected < sequence.GetNumberOfDataNodes():
            continue
        index = " ".join(
            part for part in (sequence.GetIndexName(), sequence.GetNthIndexValue(selected), sequence.GetIndexUnit())
            if part
        )
        return _("frame {number} of {count} ({index})").format(
            number=selected + 1, count=sequence.GetNumberOfDataNodes(), index=index)
    return ""
