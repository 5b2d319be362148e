"""Which attention maps are wanted, of which layers, and how many bytes they are. No torch: Slicer's side asks too.

A layer has one focus map, the expected reach Σ_k Λ^k r_k in mm (float32), and one map Λ^k per rate (uint8, 255 is an
attention of 1). They lie on the network's working grid, cropped to the patient.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .architectures import autofocus_layer_names
from .errors import RequestError
from .models.manifest import Manifest

KINDS = ("focus", "maps", "both")

MAP_STEPS = 255
"""A stored map's value for an attention of 1."""

FOCUS_BYTES, MAP_BYTES = 4, 1
"""Bytes a voxel: float32 and uint8."""

LIMIT_BYTES = 200_000_000
"""Most bytes of voxels that one request may make."""


@dataclass(frozen=True)
class AttentionRequest:
    """`layers`: names such as 'layer6', none for all of the network. `kind`: 'focus', 'maps' or 'both'.

    `focus`: whether the focus maps are wanted; `each_rate`: whether one map for each rate is.
    """

    layers: tuple[str, ...] = ()
    kind: str = "both"

    @property
    def focus(self) -> bool:
        return self.kind != "maps"

    @property
    def each_rate(self) -> bool:
        return self.kind != "focus"


def autofocus_layers(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of the model's autofocus layers in the order of the network; none for a network without."""
    return autofocus_layer_names(manifest.raw["network"]["name"])


def rates(manifest: Manifest) -> tuple[int, ...]:
    """Return the dilation rates of the model's autofocus layers, in voxels of the working grid."""
    return tuple(manifest.raw["network"]["rates"])


def reach_mm(manifest: Manifest) -> tuple[float, ...]:
    """Return how far each rate looks to every side, in mm: the values between which a focus lies."""
    return tuple(rate * manifest.spacing for rate in rates(manifest))


def checked(request: AttentionRequest, manifest: Manifest) -> AttentionRequest:
    """Return the request with its layers named, in the network's order. Raises RequestError for one that cannot be."""
    known = autofocus_layers(manifest)
    if not known:
        raise RequestError(f"The model {manifest.id} has no autofocus layers and so no attention maps; choose another.")
    for layer in request.layers:
        if layer not in known:
            raise RequestError(f"The model {manifest.id} has no autofocus layer '{layer}'; it has {', '.join(known)}.")
    if request.kind not in KINDS:
        raise RequestError(f"There are no attention maps of the kind '{request.kind}'; choose {', '.join(KINDS)}.")
    return AttentionRequest(tuple(layer for layer in known if layer in (request.layers or known)), request.kind)


def map_file(layer: str, key: str) -> str:
    """Return the name of a map's file; key: 'focus', or a rate as 'rate2'."""
    return f"{layer}-{'focus-mm' if key == 'focus' else key}.nrrd"


def files_of(request: AttentionRequest, manifest: Manifest) -> list[str]:
    """Return the names of the files that the wanted maps are written to. Raises RequestError as `checked`."""
    request = checked(request, manifest)
    keys = ["focus"] * request.focus + [f"rate{rate}" for rate in rates(manifest)] * request.each_rate
    return [map_file(layer, key) for layer in request.layers for key in keys]


def bytes_of(request: AttentionRequest, manifest: Manifest, voxels: int) -> int:
    """Return the bytes of the wanted maps on a box of `voxels`."""
    request = checked(request, manifest)
    per_layer = FOCUS_BYTES * request.focus + MAP_BYTES * len(rates(manifest)) * request.each_rate
    return voxels * per_layer * len(request.layers)


def check_size(request: AttentionRequest, manifest: Manifest, voxels: int) -> int:
    """Return `bytes_of`; raises RequestError if that is more than one request may make."""
    size = bytes_of(request, manifest, voxels)
    if size > LIMIT_BYTES:
        raise RequestError(
            f"These attention maps would take {size / 1e6:.0f} MB, and one request may take {LIMIT_BYTES / 1e6:.0f} "
            "MB; ask for fewer layers (--attention-layers) or for the focus maps alone (--attention-kind focus)."
        )
    return size


def most_voxels(extent_mm: Sequence[float], manifest: Manifest) -> int:
    """Return the most voxels that the crop to the patient can have.

    `extent_mm`: what the reference image's voxel centres span along the patient's three axes (L, P, S).
    """
    return math.prod(math.ceil((side + 2 * manifest.margin) / manifest.spacing) + 2 for side in extent_mm)
