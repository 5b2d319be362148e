"""What a segmentation node was before a result is put into it, for the case that this fails."""

import slicer

from afnet.models.terminology import MODEL_ID, MODEL_VERSION, WEIGHTS_SHA256

from ..scene.node_marks import MODEL_TITLE_ATTRIBUTE, TABLE_ROLE


class OutputBackup:
    """An output node's segments, geometry and place, to be put back if loading fails."""

    def __init__(self, node) -> None:
        self._node = node
        self._segmentation = slicer.vtkSegmentation()
        self._segmentation.DeepCopy(node.GetSegmentation())
        self._transform = node.GetTransformNodeID()
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        self._references = {name: node.GetNodeReferenceID(name) for name in (role, TABLE_ROLE)}
        marks = (MODEL_ID, MODEL_VERSION, WEIGHTS_SHA256, MODEL_TITLE_ATTRIBUTE)
        self._attributes = {name: node.GetAttribute(name) for name in marks}

    def restore(self) -> None:
        """Put them back."""
        self._node.GetSegmentation().DeepCopy(self._segmentation)
        self._node.SetAndObserveTransformNodeID(self._transform)
        for name, reference in self._references.items():
            self._node.SetNodeReferenceID(name, reference)
        for name, value in self._attributes.items():
            self._node.SetAttribute(name, value)
