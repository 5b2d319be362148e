"""The chooser of the result that is looked at, and the line below it: what it was made of, and what is hidden."""

from collections.abc import Callable

from slicer.i18n import tr as _

from afnet.terminology import MODEL_ID

from ..arrangement import reference_image
from ..display import other_results
from ..result import lies_on
from ..transforms import same_frame


class ResultChoice:
    """Offers the segmentations of the scene that this module made, in `resultSelector` of `ui`.

    chosen: called with the segmentation node when the user chooses; never by `show`.
    """

    def __init__(self, ui, chosen: Callable[[object], None]) -> None:
        self._selector, self._label = ui.resultSelector, ui.resultInfoLabel
        self._chosen = chosen
        self._selector.addAttribute("vtkMRMLSegmentationNode", MODEL_ID)
        # Not currentNodeChanged: Qt selects the first line of a list that was empty, as while a scene is loaded.
        self._selector.connect("nodeActivated(vtkMRMLNode*)", self._activated)

    def show(self, segmentation) -> None:
        """Show this segmentation node as the chosen one."""
        self._selector.blockSignals(True)
        self._selector.setCurrentNode(segmentation)
        self._selector.blockSignals(False)
        text = "\n".join(sentence for sentence in (_about_image(segmentation), _about_hidden(segmentation)) if sentence)
        self._label.setText(text)
        self._label.setVisible(bool(text))

    def _activated(self, node) -> None:
        if node is not None:
            self._chosen(node)


def _about_image(segmentation) -> str:
    """Return which image a segmentation belongs to, if its name does not say so, and whether it still lies there."""
    image = reference_image(segmentation)
    if image is None:
        return _("Its image is no longer in the scene.")
    if not lies_on(segmentation, image) or not same_frame(segmentation, image):
        return _("{image} no longer lies where it was when this was made: move it back, or segment it again.").format(
            image=image.GetName())
    if (image.GetName() or "") in (segmentation.GetName() or ""):
        return ""
    return _("Image: {image}").format(image=image.GetName())


def _about_hidden(segmentation) -> str:
    """Return what the views do not show: this result, or others."""
    if not segmentation.GetDisplayNode().GetVisibility():
        return _("This result is hidden: press Show in views to see it.")
    hidden = [node for node in other_results(segmentation)
              if node.GetDisplayNode() is not None and not node.GetDisplayNode().GetVisibility()]
    if len(hidden) == 1:
        return _("{name} is hidden: choose it above to see it.").format(name=hidden[0].GetName())
    return _("{count} other results are hidden: choose one above to see it.").format(
        count=len(hidden)) if hidden else ""
