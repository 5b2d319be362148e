"""The chooser of the result that is looked at, and below it: what it was made of and by, and what is hidden."""

from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from afnet.output.segment_tags import MODEL_ID, MODEL_VERSION

from ..models import short_title, title_of_maker
from ..results.result import default_name
from ..scene import hierarchy
from ..scene.grids import has_own_voxels, lies_on
from ..scene.transforms import is_linear, volume_factor
from ..scene.volumes import is_attention_map, name_of
from ..segments.study_record import is_of_study, made_of_another, reference_image
from ..segments.tags import other_results
from ..views import view_layers
from .texts import show_text

_SAME_VOLUME = 0.005
"""Part by which a transform may change volumes and nothing is said: less than the table shows."""


class ResultChoice:
    """Offers the segmentations of the scene that this module made, in `resultSelector` of `ui`.

    on_chosen: called with the segmentation node when the user chooses; never by `show`.
    """

    def __init__(self, ui, on_chosen: Callable[[object], None]) -> None:
        self._selector, self._label = ui.resultSelector, ui.resultInfoLabel
        self._on_chosen = on_chosen
        self._ready: list = []  # has just come, and was not yet chosen
        self._selector.addAttribute("vtkMRMLSegmentationNode", MODEL_ID)
        # Not currentNodeChanged: Qt selects the first line of a list that was empty, as while a scene is loaded.
        self._selector.connect("nodeActivated(vtkMRMLNode*)", self._activated)

    def show(self, segmentation) -> None:
        """Show this segmentation node as the chosen one."""
        self._selector.blockSignals(True)
        self._selector.setCurrentNode(segmentation)
        self._selector.blockSignals(False)
        others = other_results(segmentation)
        self._ready = [node for node in self._ready if node in others]
        sentences = (
            _image_text(segmentation), _place_text(segmentation), _scale_text(segmentation), _ready_text(self._ready),
            *_visibility_texts(segmentation, others, self._ready), _model_text(segmentation),
        )
        show_text(self._label, "\n".join(filter(None, sentences)))

    def announce(self, segmentation) -> None:
        """Say of a new result that it is ready, until it is chosen."""
        if segmentation not in self._ready:
            self._ready.append(segmentation)

    def _activated(self, node) -> None:
        if node is not None:
            self._on_chosen(node)


def _image_text(segmentation) -> str:
    """Return which image and study a segmentation is of; empty if its name says it and no study is known."""
    image = reference_image(segmentation)
    if image is None:
        return ""
    made = made_of_another(segmentation)
    if made is not None:
        return _("It was made of {image}, but its geometry is now that of {other}: check that both are of the same "
                 "patient.").format(image=name_of(made), other=name_of(image))
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")  # a study may have the name of another's
    study = dict(hierarchy.studies(volumes)).get(hierarchy.study_item(image), "")
    if study:  # scanners give the series of all patients the same names
        return _("Image: {image} ({study})").format(image=name_of(image), study=study)
    if (segmentation.GetName() or "").startswith(default_name(image)):
        return ""
    return _("Image: {image}").format(image=name_of(image))


def _place_text(segmentation) -> str:
    """Say if a segmentation does not lie on its image."""
    image = reference_image(segmentation)
    if image is None:
        return _("Its image is not in the scene, or not known to be its own: load it, or choose it as source geometry "
                 "in the Segment Editor.")
    if lies_on(segmentation, image):
        return ""
    if has_own_voxels(segmentation, image):
        return _("This result's geometry (finer or cropped) differs from that of {image}.").format(
            image=image.GetName())
    return _("{image} no longer lies where it was when this was made: move it back, or segment it again.").format(
        image=image.GetName())


def _scale_text(segmentation) -> str:
    """Say if a transform makes the volumes other than those on the image's own voxels."""
    transform = segmentation.GetParentTransformNode()
    if not is_linear(transform):
        return _("A non-linear transform deforms this result: the volumes are those before it. Harden it in the Data "
                 "module for those after it.")
    factor = volume_factor(transform)
    if abs(factor - 1) < _SAME_VOLUME:
        return ""
    return _("A transform scales this result: the volumes are {factor:.3g} times those without it.").format(
        factor=factor)


def _ready_text(results: list) -> str:
    if len(results) == 1:
        return _("{name} is ready: choose it above to see it.").format(name=name_of(results[0]))
    return _("{count} new results are ready: choose one above to see it.").format(
        count=len(results)) if results else ""


def _visibility_texts(segmentation, others: list, ready: list) -> list[str]:
    """Return what the views do not show, this result or others that are not `ready`, and which others they show, too:
    the colours are the same for all patients."""
    if not segmentation.GetDisplayNode().GetVisibility():
        return [_("This result is hidden: press Show in views to see it.")]
    others = [node for node in others if node.GetDisplayNode() is not None]
    shown = [node for node in others if node.GetDisplayNode().GetVisibility()]
    hidden = [node for node in others if node not in shown and node not in ready]
    texts = [_background_text(segmentation)]
    if shown:
        name = name_of(shown[0]) if len(shown) == 1 else _("{count} other results").format(count=len(shown))
        texts.append(_("The views show {name}, too: press Show in views to see this result alone.").format(name=name))
    if len(hidden) == 1:
        texts.append(_("{name} is hidden: choose it above to see it.").format(name=name_of(hidden[0])))
    elif hidden:
        texts.append(_("{count} other results are hidden: choose one above to see it.").format(count=len(hidden)))
    return texts


def _background_text(segmentation) -> str:
    """Say if the views show another image behind a result, as after the next patient was loaded."""
    others = [volume for volume in view_layers.backgrounds()
              if not is_attention_map(volume) and not is_of_study(volume, segmentation)]
    if reference_image(segmentation) is None or not others:
        return ""
    return _("The views show {name}, not this result's image: press Show in views to see it.").format(
        name=name_of(others[0]))


def _model_text(segmentation) -> str:
    """Return which model made a segmentation, with its id where another one of that title and version made others."""
    def called(node) -> str:
        return f"{short_title(title_of_maker(node))} {node.GetAttribute(MODEL_VERSION) or ''}".strip()

    text, model_id = called(segmentation), segmentation.GetAttribute(MODEL_ID)
    twins = [node for node in other_results(segmentation)
             if called(node) == text and node.GetAttribute(MODEL_ID) != model_id]
    return _("Model: {model}").format(model=f"{text} [{model_id}]" if twins else text)
