"""The inputs of a model as node selectors, one slot each, with what is wrong written below."""

from collections.abc import Callable, Iterable, Mapping

import qt
import slicer
from slicer.i18n import tr as _

from afnet.models.manifest import Input, Manifest

from ..inputs import input_checks
from ..scene.volumes import attention_map_ids
from .texts import literal, show_text


class _Slot:
    """The selector of one input. `nodeChanged` is a method because PythonQt counts a slot's arguments."""

    def __init__(self, item: Input, form, on_chosen: Callable[[str, object], None]) -> None:
        self.name = item.name
        self._on_chosen = on_chosen
        self.selector = slicer.qMRMLNodeComboBox()
        self.selector.setObjectName(item.name + "Selector")
        self.selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.selector.showChildNodeTypes = False  # label maps and colour images are no inputs
        self.selector.noneEnabled = True
        self.selector.noneDisplay = _("Choose a volume")
        self.selector.addEnabled = False
        self.selector.removeEnabled = False
        self.selector.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)  # long names do not widen the panel
        self.selector.setMinimumWidth(100)
        self._tip = _("Volume to use as {title} ({modality}).").format(title=item.title, modality=item.modality)
        self.selector.setMRMLScene(slicer.mrmlScene)
        self.label = qt.QLabel(item.title.replace("&", "&&") + ":")  # else the key that goes to the selector
        self.label.setTextFormat(qt.Qt.PlainText)
        self.label.setObjectName(item.name + "Label")
        self.label.setToolTip(literal(self._tip))
        self.label.setBuddy(self.selector)
        self.reason = _text_label(item.name + "ReasonLabel", _("Why this volume was taken, or what to check."))
        self.problem = _text_label(item.name + "ProblemLabel", _("Why this volume cannot be used."))
        form.addRow(self.label, self.selector)
        form.setWidget(form.rowCount(), qt.QFormLayout.FieldRole, self.reason)
        form.addRow(self.problem)
        self.show(None)
        self.selector.connect("currentNodeChanged(vtkMRMLNode*)", self.nodeChanged)

    def show(self, node) -> None:
        """Show a volume node or None; the tool tip has the whole name, of which the panel may show a part."""
        self.selector.setCurrentNode(node)
        self.selector.setToolTip(literal(self._tip if node is None else f"{self._tip}\n{node.GetName()}"))

    def remove(self, form) -> None:
        """Take the slot out of `form` and delete its widgets."""
        self.selector.setMRMLScene(None)
        for widget in (self.label, self.selector, self.reason, self.problem):
            form.removeWidget(widget)
            widget.setParent(None)
            widget.deleteLater()

    def nodeChanged(self, node) -> None:
        self._on_chosen(self.name, node)


class InputSlots:
    """The slots of the chosen model, rows of `form` (a QFormLayout) below those it has.

    before: the widget that comes before the slots when the user presses Tab.
    on_chosen: called with (input name, node or None) when the user chooses another volume, never by `show_nodes`.
    """

    def __init__(self, form, before, on_chosen: Callable[[str, object], None]) -> None:
        self._form = form
        self._before = before
        self._on_chosen = on_chosen
        self._slots: list[_Slot] = []
        self._explained: tuple | None = None
        self._showing = False

    def build(self, inputs: tuple[Input, ...]) -> None:
        """Replace the slots by one for each of `inputs`, all empty."""
        self._showing = True  # selectors that come or go report that they are empty
        for slot in self._slots:
            slot.remove(self._form)
        self._slots = [_Slot(item, self._form, self._user_changed) for item in inputs]
        order = [self._before, *(_focus_widget(slot.selector) for slot in self._slots)]
        for one, other in zip(order, order[1:], strict=False):  # new widgets come last otherwise
            qt.QWidget.setTabOrder(one, other)
        self._explained = None
        self._showing = False

    def show_nodes(self, nodes: Mapping[str, object]) -> None:
        """Show the volume node (or None) of each input name; our own attention maps are not offered."""
        self._showing = True
        hidden = attention_map_ids()
        for slot in self._slots:
            slot.selector.sortFilterProxyModel().hiddenNodeIDs = hidden
            slot.show(nodes.get(slot.name))
        self._showing = False

    def look_again(self) -> None:
        """The volumes of the scene may be others: `explain` is to look at them."""
        self._explained = None

    def explain(self, manifest: Manifest | None, nodes: Mapping[str, object], volume_nodes: Iterable,
                problems: Mapping[str, str], backgrounds: Iterable = ()) -> None:
        """Write below each input without a problem why its volume was taken, or what to check.

        Looks at all of `volume_nodes`, but only for other nodes or problems than before, or others in the views
        (`backgrounds`), or after `look_again`.
        """
        chosen = {name: node and (node.GetID(), node.GetName()) for name, node in nodes.items()}
        state = manifest, chosen, [*problems], [node.GetID() for node in backgrounds]
        if state == self._explained:
            return
        self._explained = state
        reasons = input_checks.input_reasons(manifest, nodes, volume_nodes, backgrounds) if manifest else {}
        for slot in self._slots:
            show_text(slot.reason, "" if slot.name in problems else reasons.get(slot.name, ""))

    def show_problems(self, problems: Mapping[str, str]) -> None:
        """Write the problem of each input name below its selector; none clears it."""
        for slot in self._slots:
            show_text(slot.problem, problems.get(slot.name, ""))

    def _user_changed(self, name: str, node) -> None:
        if not self._showing:
            self._on_chosen(name, node)


def _text_label(name: str, tip: str):
    """Return a hidden label for a sentence, shown as it is and wrapped."""
    label = qt.QLabel()
    label.setObjectName(name)
    label.setTextFormat(qt.Qt.PlainText)
    label.setWordWrap(True)
    label.setToolTip(tip)
    label.setVisible(False)
    return label


def _focus_widget(selector):
    """Return the part of a node selector that takes the keyboard: the combo box in it."""
    boxes = selector.findChildren(qt.QComboBox)
    return boxes[0] if boxes else selector
