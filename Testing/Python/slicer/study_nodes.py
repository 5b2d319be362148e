"""Volume nodes as a study has them, and their place in the subject hierarchy."""

import numpy as np

from harness.scene_makers import make_volume


def brain_nodes():
    return {name: make_volume(None, name) for name in ("t1", "t1c", "t2", "flair")}


def vector_volume(name):
    import slicer

    return slicer.util.addVolumeFromArray(np.zeros((4, 5, 6, 3), np.uint8), name=name,
                                          nodeClassName="vtkMRMLVectorVolumeNode")


def tree():
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def put_in_study(node, patient, study, modality="MR"):
    """Place a node as Slicer's DICOM module does: patient, study, series with its modality."""
    import slicer

    def child(parent, name, level):
        found = tree().GetItemChildWithName(parent, name)
        item = found or tree().CreateFolderItem(parent, name)
        tree().SetItemLevel(item, level)
        return item

    constants = slicer.vtkMRMLSubjectHierarchyConstants
    patient_item = child(tree().GetSceneItemID(), patient, constants.GetDICOMLevelPatient())
    study_item = child(patient_item, study, constants.GetDICOMLevelStudy())
    item = tree().GetItemByDataNode(node) or tree().CreateItem(study_item, node)
    tree().SetItemParent(item, study_item)
    tree().SetItemAttribute(item, constants.GetDICOMSeriesModalityAttributeName(), modality)
