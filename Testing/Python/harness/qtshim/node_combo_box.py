"""Stand-in for qMRMLNodeComboBox, the chooser of a node of the scene."""

import vtk
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal


def _option(kind, name: str):
    def read(self):
        value = self._options[name]
        return tuple(value) if kind == "QStringList" else value

    def write(self, value):
        self._options[name] = list(value) if kind == "QStringList" else value
        self._refresh()

    return Property(kind, read, write)


class SortFilterProxyModel:
    """The part of a qMRMLSortFilterProxyModel that hides nodes one by one; another name raises AttributeError."""

    __slots__ = ("_ids", "_changed")

    def __init__(self, changed) -> None:
        self._ids, self._changed = [], changed

    @property
    def hiddenNodeIDs(self) -> tuple[str, ...]:
        return tuple(self._ids)

    @hiddenNodeIDs.setter
    def hiddenNodeIDs(self, ids) -> None:
        if not isinstance(ids, (list, tuple)):  # a QStringList takes no set
            raise AttributeError(f"property hiddenNodeIDs does not take {ids!r}")
        self._ids = list(ids)
        self._changed()


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Lists the scene's nodes of `nodeTypes`. As the real one it is disabled without a scene, and selects nothing
    by itself: after a node is added the choice stays as it was."""

    _standIn = True
    currentNodeChanged = Signal(object)
    currentNodeChangedBool = Signal(bool)
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAddedByUserAction = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    _cppSignals = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "currentNodeChangedBool",
        "currentNodeIDChanged(QString)": "currentNodeIDChanged",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
        "nodeAdded(vtkMRMLNode*)": "nodeAdded",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
        "nodeAddedByUserAction(vtkMRMLNode*)": "nodeAddedByUserAction",
        "nodeAboutToBeRemoved(vtkMRMLNode*)": "nodeAboutToBeRemoved",
    }

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._options = dict(
            nodeTypes=[],
            hideChildNodeTypes=[],
            showHidden=False,
            showChildNodeTypes=True,
            noneEnabled=False,
            addEnabled=True,
            removeEnabled=True,
            editEnabled=False,
            renameEnabled=False,
            selectNodeUponCreation=True,
            baseName="",
            noneDisplay="None",
            interactionNodeSingletonTag="Singleton",
        )
        self._scene, self._scene_tags, self._node_tags = None, [], {}
        self._listed: set = set()
        self._attributes: list[tuple] = []
        self._proxy_model = SortFilterProxyModel(self._refresh)
        self._last = ""
        self._filling = False
        self._box = QtWidgets.QComboBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.currentIndexChanged.connect(lambda *_: self._tell())
        self._box.activated.connect(self._activated)
        self.destroyed.connect(lambda: self._let_go())
        self.setEnabled(False)

    # -- scene

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is self._scene:
            return
        self._let_go()
        self._scene = scene
        if scene is not None:
            events = (
                scene.NodeAddedEvent,
                scene.NodeRemovedEvent,
                scene.EndImportEvent,
                scene.EndBatchProcessEvent,
                scene.EndCloseEvent,
            )
            self._scene_tags = [scene.AddObserver(event, lambda *_: self._refresh()) for event in events]
            self._scene_tags.append(scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._about_to_be_removed))
        self.setEnabled(scene is not None)
        self._refresh()

    def _let_go(self) -> None:
        """Observe nothing any more, as a chooser that Qt has deleted with its panel, though Python still knows it."""
        for tag in self._scene_tags:
            self._scene.RemoveObserver(tag)
        for node, tag in self._node_tags.items():
            node.RemoveObserver(tag)
        self._scene, self._scene_tags, self._node_tags = None, [], {}

    def _about_to_be_removed(self, _scene, _event, node) -> None:
        if self._accepts(node):
            self.nodeAboutToBeRemoved.emit(node)

    _about_to_be_removed.CallDataType = vtk.VTK_OBJECT

    def _accepts(self, node) -> bool:
        return self._may_list(node) and self._has_attributes(node)

    def _may_list(self, node) -> bool:
        options = self._options
        if node.GetHideFromEditors() and not options["showHidden"]:
            return False
        if node.GetID() in self._proxy_model.hiddenNodeIDs:
            return False
        types = options["nodeTypes"]
        if not any(node.IsA(each) if options["showChildNodeTypes"] else node.GetClassName() == each for each in types):
            return False
        return not any(node.IsA(each) for each in options["hideChildNodeTypes"])

    def _has_attributes(self, node) -> bool:
        for node_type, key, value in self._attributes:
            if node.IsA(node_type):
                own = node.GetAttribute(key)
                if own is None or (value is not None and own != str(value)):
                    return False
        return True

    def _nodes(self) -> list:
        return [node for node in self._candidates() if self._has_attributes(node)]

    def _candidates(self) -> list:
        """The nodes that are listed, or would be once they had the attributes."""
        if self._scene is None:
            return []
        every = (self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes()))
        return [node for node in every if self._may_list(node)]

    def _refresh(self) -> None:
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        current, known = self.currentNodeID, self._listed
        self._filling = True
        self._box.clear()
        if self._options["noneEnabled"]:
            self._box.addItem(self._options["noneDisplay"], "")
        nodes = self._nodes()
        for node in nodes:
            self._box.addItem(node.GetName() or "", node.GetID())
        self._listed = set(nodes)
        self._observe(self._candidates())
        if self._options["addEnabled"] and self._scene is not None:
            for node_type in self._options["nodeTypes"]:
                self._box.insertSeparator(self._box.count)
                self._box.addItem(f"Create new {self._scene.GetTagByClassName(node_type)}", "add:" + node_type)
        self._box.setCurrentIndex(self._index_of(current))
        self._filling = False
        self._tell()
        for node in nodes:
            if known and node not in known:
                self.nodeAdded.emit(node)

    def _observe(self, nodes: list) -> None:
        for node in [each for each in self._node_tags if each not in nodes]:
            node.RemoveObserver(self._node_tags.pop(node))
        for node in nodes:
            if node not in self._node_tags:
                self._node_tags[node] = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._modified)

    def _modified(self, node, _event) -> None:
        """A node has another name, or got or lost an attribute: qMRMLSortFilterProxyModel filters anew then."""
        if self._has_attributes(node) != (node in self._listed):
            self._refresh()
        index = self._box.findData(node.GetID())
        if index >= 0 and self._box.itemText(index) != (node.GetName() or ""):
            self._box.setItemText(index, node.GetName() or "")

    def _index_of(self, node_id: str) -> int:
        index = self._box.findData(node_id) if node_id else -1
        return index if index >= 0 else (0 if self._options["noneEnabled"] else -1)

    def _tell(self) -> None:
        if self._filling or str(self._box.currentData or "").startswith("add:"):
            return
        if self.currentNodeID != self._last:
            self._last = self.currentNodeID
            node = self.currentNode()
            self.currentNodeChanged.emit(node)
            self.currentNodeChangedBool.emit(node is not None)
            self.currentNodeIDChanged.emit(self._last)

    def _activated(self, index: int) -> None:
        """The user chose a line."""
        data = self._box.itemData(index)
        if data and data.startswith("add:"):
            node = self.addNode(data.removeprefix("add:"))
            self.nodeAddedByUserAction.emit(node)
        self.nodeActivated.emit(self.currentNode())

    def sortFilterProxyModel(self) -> SortFilterProxyModel:
        return self._proxy_model

    # -- nodes

    def addAttribute(self, node_type: str, name: str, value=None) -> None:
        self._attributes.append((node_type, name, value))
        self._refresh()

    def removeAttribute(self, node_type: str, name: str) -> None:
        self._attributes = [each for each in self._attributes if each[:2] != (node_type, name)]
        self._refresh()

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int):
        return self._nodes()[index]

    def currentNode(self):
        return self._scene.GetNodeByID(self.currentNodeID) if self._scene and self.currentNodeID else None

    def setCurrentNode(self, node) -> None:
        self.setCurrentNodeID(node if isinstance(node, str) else node.GetID() if node is not None else "")

    def setCurrentNodeID(self, node_id: str) -> None:
        self._box.setCurrentIndex(self._index_of(node_id or ""))

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self._nodes()[index])

    def addNode(self, node_type: str | None = None):
        node_type = node_type or self._options["nodeTypes"][0]
        name = self._options["baseName"] or self._scene.GetTagByClassName(node_type)
        node = self._scene.AddNewNodeByClass(node_type, self._scene.GenerateUniqueName(name))
        for each, key, value in self._attributes:
            if node.IsA(each):
                node.SetAttribute(key, "" if value is None else str(value))
        self.nodeAddedByUser.emit(node)
        if self._options["selectNodeUponCreation"]:
            self.setCurrentNode(node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self.currentNode())

    def _current_id(self) -> str:
        data = self._box.currentData
        return data if data and not data.startswith("add:") else ""

    currentNodeID = Property(str, _current_id, lambda self, value: self.setCurrentNodeID(value))
    nodeTypes = _option("QStringList", "nodeTypes")
    hideChildNodeTypes = _option("QStringList", "hideChildNodeTypes")
    showHidden = _option(bool, "showHidden")
    showChildNodeTypes = _option(bool, "showChildNodeTypes")
    noneEnabled = _option(bool, "noneEnabled")
    addEnabled = _option(bool, "addEnabled")
    removeEnabled = _option(bool, "removeEnabled")
    editEnabled = _option(bool, "editEnabled")
    renameEnabled = _option(bool, "renameEnabled")
    selectNodeUponCreation = _option(bool, "selectNodeUponCreation")
    baseName = _option(str, "baseName")
    noneDisplay = _option(str, "noneDisplay")
    interactionNodeSingletonTag = _option(str, "interactionNodeSingletonTag")
