"""Names that the real C++ classes have, beyond their Qt base class, as PythonQt shows them.

Taken from the public headers of CTK (Libs/Widgets) and Slicer (Libs/MRML/Widgets, Modules/Loadable/Segmentations/
Widgets, Base/QTGUI): properties, slots, signals and Q_INVOKABLE methods; for CTK also the public methods that its
PythonQt decorators wrap. A stand-in may have fewer names than its line here, never others (test_stand_ins.py).
"""

NAMES: dict[str, frozenset[str]] = {
    name: frozenset(names.split())
    for name, names in {
        "qMRMLWidget": "mrmlScene setMRMLScene mrmlSceneChanged pixmapFromIcon",
        "qSlicerWidget": "mrmlScene setMRMLScene mrmlSceneChanged pixmapFromIcon",
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
        "qMRMLSegmentsTableView": """
            selectionMode headerVisible visibilityColumnVisible colorColumnVisible opacityColumnVisible
            statusColumnVisible layerColumnVisible readOnly filterBarVisible textFilter
            jumpToSelectedSegmentEnabled segmentCount useTerminologySelectorSettingsKey useTerminologySelector
            terminologySelectorOptionVisible terminologySelectorAutoDisable
            mrmlScene mrmlSceneChanged pixmapFromIcon
            segmentationNode tableWidget selectedSegmentIDs setSelectedSegmentIDs clearSelection setHideSegments
            hideSegments displayedSegmentIDs sortFilterProxyModel model statusShown rowForSegmentID segmentIDForRow
            setSegmentationNode setMRMLScene setSelectionMode setHeaderVisible setVisibilityColumnVisible
            setColorColumnVisible setOpacityColumnVisible setStatusColumnVisible setLayerColumnVisible setReadOnly
            setFilterBarVisible showOnlySelectedSegments jumpSlices setTextFilter setStatusShown
            selectionChanged segmentAboutToBeModified""",
        "qMRMLSegmentationShow3DButton": "locked setLocked segmentationNode setSegmentationNode",
        "qMRMLTableView": """
            transposed firstRowLocked firstColumnLocked mrmlScene mrmlTableViewNode mrmlTableNode tableModel
            sortFilterProxyModel setMRMLScene setMRMLTableViewNode setMRMLTableNode setTransposed setFirstRowLocked
            setFirstColumnLocked copySelection pasteSelection plotSelection insertRow insertColumn deleteRow
            deleteColumn mrmlSceneChanged selectionChanged""",
        "qSlicerScriptedLoadableModuleWidget": "mrmlScene setMRMLScene mrmlSceneChanged self enter exit reload",
        "ctkCollapsibleButton": """
            collapsed collapsedHeight contentsFrameShape contentsFrameShadow contentsLineWidth contentsMidLineWidth
            buttonTextAlignment indicatorAlignment setCollapsed setCollapsedHeight contentsCollapsed""",
        "ctkCollapsibleGroupBox": "collapsed collapsedHeight setCollapsed setCollapsedHeight",
        "ctkSliderWidget": """
            decimals singleStep pageStep minimum maximum value prefix suffix tickInterval tickPosition
            autoSpinBoxWidth spinBoxAlignment tracking spinBoxVisible popupSlider setMinimum setMaximum setRange
            setSingleStep setPageStep setDecimals setPrefix setSuffix reset setValue setSpinBoxVisible
            valueChanged valueIsChanging spinBox slider""",
        "ctkPathLineEdit": """
            label filters currentPath options settingKey showBrowseButton showHistoryButton sizeAdjustPolicy
            minimumContentsLength nameFilters setCurrentPath setCurrentFileExtension comboBox browse retrieveHistory
            addCurrentPathToHistory validInputChanged currentPathChanged Dirs Files Drives NoSymLinks AllEntries
            Readable Writable Executable Modified Hidden System AllDirs NoDotAndDotDot""",
        "ctkDirectoryButton": """
            acceptMode directory caption text icon elideMode options setDirectory setCaption setText setIcon
            setElideMode browse directoryChanged directorySelected""",
        "ctkComboBox": """
            defaultText defaultIcon forceDefault elideMode scrollWheelEffect currentUserDataAsString
            setDefaultText setDefaultIcon setElideMode setScrollWheelEffect setCurrentUserDataAsString
            returnRelease defaultTextChanged currentUserDataAsStringChanged""",
        "ctkCheckBox": "indicatorIcon indicatorIconSize setIndicatorIcon setIndicatorIconSize",
        "ctkMenuButton": "",
        "ctkFittedTextBrowser": "",
        "ctkExpandableWidget": """
            orientations sizeGripInside sizeGripMargins setOrientations setSizeGripInside setSizeGripMargins
            updateSizeHint""",
        "ctkMessageBox": """
            dontShowAgain dontShowAgainSettingsKey dontShowAgainVisible setDontShowAgain setDontShowAgainSettingsKey
            setDontShowAgainVisible""",
    }.items()
}
