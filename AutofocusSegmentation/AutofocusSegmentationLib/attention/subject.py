"""What the attention section is about: a segmentation, the model that made it, its maps, and what is not there yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import slicer
from slicer.i18n import tr as _

from afnet.attention_request import LIMIT_BYTES, AttentionRequest, autofocus_layers, bytes_of, most_voxels, rates
from afnet.errors import AfnetError
from afnet.models.manifest import Manifest
from afnet.output.segment_tags import MODEL_ID

from .. import models
from ..segments import study_record
from .maps import FOCUS, extent_mm, maps_of


@dataclass(frozen=True)
class Subject:
    """segmentation and manifest may be None. maps: (layer, key) to volume node. problem: why no map can be computed."""

    segmentation: object = None
    manifest: Manifest | None = None
    maps: Mapping[tuple[str, str], object] = field(default_factory=dict)
    problem: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the model's autofocus layers."""
        return autofocus_layers(self.manifest) if self.manifest else ()

    @property
    def map_keys(self) -> list[str]:
        """Keys of a layer's maps by rate."""
        return [f"rate{rate}" for rate in rates(self.manifest)] if self.manifest else []

    @property
    def reference(self):
        """The volume node on whose study the maps lie; None if it is gone."""
        inputs = study_record.inputs_of(self.segmentation, self.manifest) if self.manifest else {}
        return inputs.get(self.manifest.reference) if inputs else None

    @property
    def focus_maps(self) -> dict:
        """Layer to volume node, for the focus maps that are loaded."""
        return {layer: node for (layer, key), node in self.maps.items() if key == FOCUS}

    def missing_focus(self, *layers: str) -> AttentionRequest | None:
        """Return the request for the focus maps of `layers` that are not there; None if all are."""
        absent = tuple(layer for layer in layers if (layer, FOCUS) not in self.maps)
        return AttentionRequest(absent, "focus") if absent else None

    def missing_maps(self, layer: str) -> AttentionRequest | None:
        """Return the request for a layer's maps by rate; None if they are there, or there is no layer."""
        there = all((layer, key) in self.maps for key in self.map_keys)
        return None if there or not layer else AttentionRequest((layer,), "maps")

    def size_text(self, request: AttentionRequest) -> str:
        """Return '1.7 MB', or 'at most 1.7 MB' before the patient's extent on the network's grid is known."""
        size = bytes_of(request, self.manifest, self._voxels())
        text = _("under 0.1 MB") if size < 1e5 else _("{size:.1f} MB").format(size=min(size, LIMIT_BYTES) / 1e6)
        return text if self.maps or size < 1e5 else _("at most {size}").format(size=text)

    def too_large(self, request: AttentionRequest) -> str:
        """Say why a request is larger than one may be; empty if it is not, or that is not known yet."""
        size = bytes_of(request, self.manifest, self._voxels()) if self.maps else 0
        if size <= LIMIT_BYTES:
            return ""
        return _("This would take {size:.0f} MB, and one request may take {limit:.0f} MB.").format(
            size=size / 1e6, limit=LIMIT_BYTES / 1e6)

    def _voxels(self) -> int:
        if self.maps:
            return next(iter(self.maps.values())).GetImageData().GetNumberOfPoints()
        return most_voxels(extent_mm(self.reference), self.manifest)


def subject_of(segmentation, manifests: dict[str, Manifest]) -> Subject:
    """Return the subject for a segmentation node or None. manifests: model id to manifest, filled as they are read."""
    if segmentation is None or not slicer.mrmlScene.IsNodePresent(segmentation):
        return Subject(problem=_("Segment a study first: the maps are those of a segmentation."))
    identifier = segmentation.GetAttribute(MODEL_ID) or ""
    try:
        if identifier not in manifests:
            manifests[identifier] = models.model_called(identifier)
    except AfnetError as error:
        there = any(entry.id == identifier for entry in models.list_models())
        return Subject(segmentation, problem=str(error) if there else _(
            "The model that made this result is no longer here: import it again under Models."))
    manifest, maps = manifests[identifier], maps_of(segmentation)
    problem = study_record.missing(segmentation, manifest)
    if not autofocus_layers(manifest):
        problem = _("The network of this model has no autofocus layers, and so no attention maps.")
    return Subject(segmentation, manifest, maps, problem)
