"""What the subject hierarchy knows of a volume, its patient, study and modality, and where nodes are put in it.

Names may be a patient's: they are read for the chooser of studies and for DICOM files, and go nowhere else.
"""

import re
from collections import Counter

import slicer


def item_of(node) -> int:
    """Return the subject hierarchy item of a node; 0 if it has none."""
    hierarchy = _tree()
    return hierarchy.GetItemByDataNode(node) if hierarchy else 0


def parent_item(node) -> int:
    """Return the item (study, folder or scene) that a node's item lies in; 0 if it has none."""
    hierarchy = _tree()
    item = item_of(node)
    return hierarchy.GetItemParent(item) if item else 0


def patient_item(node) -> int:
    """Return the item of the patient that a node belongs to; 0 if unknown, as for volumes not from DICOM."""
    return _ancestor(node, slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMLevelPatient())


def known_apart(*nodes) -> bool:
    """Tell whether two of some nodes (None: no node) are known to belong to different patients."""
    return len({patient_item(node) for node in nodes if node is not None} - {0}) > 1


def same_patient(node, other) -> bool:
    """Tell whether two nodes are known to belong to one patient."""
    return patient_item(node) == patient_item(other) != 0


def is_foreign(node, other) -> bool:
    """Tell whether a node (None: False) belongs to a patient who is not known to be that of another node.

    Stricter than `known_apart`: beside a node of nobody known, a known patient's is foreign.
    """
    patient = patient_item(node) if node is not None else 0
    return patient not in (0, patient_item(other))


def study_item(node) -> int:
    """Return the item of the study that a node belongs to; 0 if unknown."""
    return _ancestor(node, slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMLevelStudy())


def modality(node) -> str:
    """Return the DICOM modality of a volume's series ('CT', 'MR', 'PT' ...); empty if unknown."""
    hierarchy = _tree()
    item = item_of(node)
    if not item:
        return ""
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    return (hierarchy.GetItemAttribute(item, name) or "").strip().upper()


def subject_hierarchy():
    """Return the scene's subject hierarchy; it is added if there is none yet."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def put_beside(node, other) -> None:
    """Give `node` the parent of `other`: its study, its folder, or the scene."""
    put_under(node, parent_item(other) or subject_hierarchy().GetSceneItemID())


def put_under(node, parent: int) -> None:
    """Make the item of `node` a child of the item `parent`. It is made if there is none, as without Slicer's window."""
    subject_hierarchy().CreateItem(parent, node)


def remove_item(node) -> int:
    """Remove the item of `node`, but neither the node nor what lies under it; return the item that it lay in, or 0."""
    item, parent = item_of(node), parent_item(node)
    if item:
        _tree().RemoveItem(item, False, False)  # Slicer does it when the node goes; without its window nobody does
    return parent


def patient_sex(node) -> str:
    """Return the sex of a node's patient as DICOM has it: 'M', 'F', 'O' (other), or '' if unknown."""
    item, name = patient_item(node), slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMPatientSexAttributeName()
    return ((_tree().GetItemAttribute(item, name) if item else "") or "").strip().upper()


def patient_and_study_tags(node) -> dict[str, str]:
    """Return the DICOM keywords and values of a node's patient and study, for files that go back to DICOM only."""
    names = slicer.vtkMRMLSubjectHierarchyConstants
    values = {}
    for item, kind, parts in (
        (patient_item(node), "Patient", ("Name", "ID", "Sex")),
        (study_item(node), "Study", ("Date", "Time", "Description")),
    ):
        for part in parts:
            attribute = getattr(names, f"GetDICOM{kind}{part}AttributeName")()
            value = _tree().GetItemAttribute(item, attribute) if item else ""
            if value:
                values[getattr(names, f"GetDICOM{kind}{part}TagName")()] = value
    return values


def studies(nodes) -> list[tuple[int, str]]:
    """Return (item, 'patient / study') of the studies that the nodes belong to, in the order of the nodes.

    Studies of one name are told apart by the patient's ID, then by date and time, else by a number.
    """
    items = list(dict.fromkeys(item for node in nodes if (item := study_item(node))))
    names = slicer.vtkMRMLSubjectHierarchyConstants
    patients = {item: _tree().GetItemAncestorAtLevel(item, names.GetDICOMLevelPatient()) for item in items}
    labels = {
        item: " / ".join(filter(None, (_tree().GetItemName(each) for each in (patients[item], item) if each)))
        for item in items
    }
    labels = _told_apart(labels, {
        item: _tree().GetItemAttribute(patients[item], names.GetDICOMPatientIDAttributeName())
        for item in items if patients[item]
    })
    for attribute in (names.GetDICOMStudyDateAttributeName(), names.GetDICOMStudyTimeAttributeName()):
        labels = _told_apart(labels, {item: _tree().GetItemAttribute(item, attribute) for item in items})
    seen: Counter = Counter()
    for item in items:
        seen[labels[item]] += 1
        if seen[labels[item]] > 1:
            labels[item] += f" ({seen[labels[item]]})"
    return list(labels.items())


def _told_apart(labels: dict[int, str], details: dict[int, str | None]) -> dict[int, str]:
    """Return the labels, those that are equal with their detail, where that differs and is known."""
    alike: dict[str, set] = {}
    for item, label in labels.items():
        alike.setdefault(label, set()).add(details.get(item) or "")
    return {
        item: f"{label} ({_readable(details[item])})" if len(alike[label]) > 1 and details.get(item) else label
        for item, label in labels.items()
    }


def _readable(text: str) -> str:
    """Return a DICOM date with dashes, and everything else as it is."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if re.fullmatch(r"(19|20)\d{6}", text) else text


def _tree():
    """Return the scene's subject hierarchy; None if there is none yet: a look must not add a node, as Slicer's own
    getter does."""
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")


def _ancestor(node, level: str) -> int:
    hierarchy = _tree()
    item = item_of(node)
    return hierarchy.GetItemAncestorAtLevel(item, level) if item else 0
