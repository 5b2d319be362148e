"""Names that PythonQt shows of the C++ classes that the stand-ins stand for, beyond their Qt base class.

Read in the public headers of CTK (Libs/Widgets) and Slicer (Libs/MRML/Widgets, Base/QTGUI): properties, signals, public
slots and Q_INVOKABLE methods. Other public methods are not there, though C++ has them: CTK's wrapping for Python
(CMake/ctkWrapPythonQt.py) makes constructors and destructors only, so ctkSliderWidget has no setRange, and
ctkDirectoryButton no setDirectory. A stand-in may have fewer names than its line here, never others (test_qt.py).
"""

NAMES: dict[str, frozenset[str]] = {
    name: frozenset(names.split())
    for name, names in {
        "qMRMLWidget": "mrmlScene setMRMLScene mrmlSceneChanged pixmapFromIcon",
        "qMRMLNodeComboBox": """
            currentNodeID currentNodeId nodeTypes showHidden showChildNodeTypes hideChildNodeTypes baseName
            noneEnabled addEnabled removeEnabled editEnabled renameEnabled interactionNodeSingletonTag
            selectNodeUponCreation noneDisplay sizeAdjustPolicy
            mrmlScene addAttribute removeAttribute setNodeTypeLabel nodeTypeLabel nodeCount nodeFromIndex currentNode
            sortFilterProxyModel addMenuAction
            setMRMLScene setCurrentNode setCurrentNodeID setCurrentNodeIndex addNode removeCurrentNode
            editCurrentNode renameCurrentNode
            currentNodeChanged currentNodeIDChanged nodeActivated nodeAdded nodeAddedByUser nodeAddedByUserAction
            nodeAboutToBeRemoved currentNodeRenamed nodeAboutToBeEdited""",
        "qSlicerScriptedLoadableModuleWidget": "mrmlScene setMRMLScene mrmlSceneChanged self enter exit reload",
        "ctkCollapsibleButton": """
            collapsed collapsedHeight contentsFrameShape contentsFrameShadow contentsLineWidth contentsMidLineWidth
            buttonTextAlignment indicatorAlignment contentsCollapsed""",
        "ctkSliderWidget": """
            decimals singleStep pageStep minimum maximum value prefix suffix tickInterval tickPosition
            synchronizeSiblings spinBoxAlignment tracking spinBoxVisible popupSlider invertedAppearance
            invertedControls reset setValue setSpinBoxVisible setDecimals valueChanged valueIsChanging
            decimalsChanged""",
        "ctkDirectoryButton": """
            acceptMode directory caption text icon elideMode options browse directoryChanged directorySelected""",
    }.items()
}
