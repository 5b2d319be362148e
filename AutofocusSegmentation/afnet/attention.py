"""The attention of autofocus layers as volumes on the working grid, cropped to the patient.

Per layer: the focus map, the expected reach Σ_k Λ^k r_k in mm, and one map per rate (see attention_request.py).
Outside the patient they are 0, which no focus is.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from .atomic_file import refusal
from .attention_request import MAP_STEPS, AttentionRequest, map_file
from .json_documents import AttentionEntry
from .output.writing import write_volume
from .preprocessing.grid import WorkingGrid
from .tensors import to_numpy

HEADER = "AutofocusSegmentation."
"""Keys in a map's NRRD header begin with this: Layer, Map ('focus' or 'rate'), Rate, Unit, Scale."""


class AttentionMaps:
    """An AttentionSink: collects the wanted maps of a pass over the crop on `grid`, in which `patient` is (z, y, x).

    `request` names its layers (see attention_request.checked), `rates` are theirs. `focus` (float32, mm) and
    `rate_maps` (uint8, K × voxels) are keyed by layer. `device` and `precision` are those of the last layer seen.
    """

    def __init__(self, request: AttentionRequest, rates: tuple[int, ...], grid: WorkingGrid, patient: np.ndarray):
        self.request = request
        self.rates = rates
        self.grid = grid
        self.patient = patient
        self.focus: dict[str, np.ndarray] = {}
        self.rate_maps: dict[str, np.ndarray] = {}
        self.device = self.precision = ""
        self._ended: set[str] = set()

    def __call__(self, name: str, start: int, maps: torch.Tensor) -> None:
        """Take a slab of the layer called `name`: `maps` (K, z, y, x), the weight of each rate, summing to about 1.

        A slab spans the crop but along its axis, where it lies from `start` on; slabs come in order, the last one ends
        the layer. Layers that are not wanted are passed over.
        """
        self.device, self.precision = maps.device.type, str(maps.dtype).removeprefix("torch.")
        if name not in self.request.layers:
            return
        maps = maps.float()
        maps = maps / maps.sum(0)  # rounded to bfloat16 they do not quite sum to 1
        shape = self.patient.shape
        axis = _slab_axis(maps.shape[1:], shape)
        stop = start + maps.shape[1 + axis]
        place = (slice(None),) * axis + (slice(start, stop),)
        if self.request.focus:
            reach = torch.tensor(self.rates, dtype=torch.float32, device=maps.device) * self.grid.spacing
            values = to_numpy((maps * reach.view(-1, 1, 1, 1)).sum(0))
            self.focus.setdefault(name, np.zeros(shape, np.float32))[place] = values
        if self.request.each_rate:
            values = to_numpy((maps * MAP_STEPS).round().to(torch.uint8))
            stored = self.rate_maps.setdefault(name, np.zeros((len(self.rates), *shape), np.uint8))
            stored[(slice(None), *place)] = values
        if stop == shape[axis]:
            self._ended.add(name)

    @property
    def complete(self) -> bool:
        """Whether the last slab of every wanted layer is there."""
        return self._ended.issuperset(self.request.layers)

    def write(self, folder: Path) -> AttentionEntry:
        """Write <layer>-focus-mm.nrrd and <layer>-rate<r>.nrrd, cropped to the patient; the folder is made if missing.

        Returns what the report says of them. Raises RequestError.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refusal(error, "The folder of attention maps") from None
        cropped, box = self.grid.crop(self.patient, 0.0)
        inside = self.patient[box]
        layers = []
        for name in self.request.layers:
            entry = {"layer": name, "rates": list(self.rates), "files": {}, "bytes": 0}
            for key, array, header in self._volumes(name):
                array = array[box] * inside
                file = map_file(name, key)
                image = cropped.image(array)
                for word, value in ({"Layer": name} | header).items():
                    image.SetMetaData(HEADER + word, value)
                write_volume(folder / file, image, "An attention map")
                entry["files"][key] = file
                entry["bytes"] += array.nbytes
            layers.append(entry)
        return {
            "kind": self.request.kind, "unit": "mm", "map_scale": f"1/{MAP_STEPS}", "layers": layers,
            "bytes": sum(entry["bytes"] for entry in layers),
            "grid": {"size": list(cropped.size), "spacing_mm": cropped.spacing, "origin_mm_lps": list(cropped.origin)},
        }

    def _volumes(self, name: str):
        """Yield key ('focus', 'rate2' …), array (z, y, x) and header of every wanted volume of a layer."""
        if self.request.focus:
            yield "focus", self.focus[name], {"Map": "focus", "Unit": "mm"}
        if self.request.each_rate:
            for k, rate in enumerate(self.rates):
                header = {"Map": "rate", "Rate": str(rate), "Scale": f"1/{MAP_STEPS}"}
                yield f"rate{rate}", self.rate_maps[name][k], header


def patient_mask(mask: np.ndarray) -> np.ndarray:
    """Return the mask (z, y, x) with the holes of every axial slice filled: gas in the bowel is in the patient."""
    planes = [sitk.BinaryFillhole(sitk.GetImageFromArray(plane.astype(np.uint8))) for plane in mask]
    return np.stack([sitk.GetArrayFromImage(plane) for plane in planes]).astype(bool)


def _slab_axis(slab: tuple[int, ...], whole: tuple[int, ...]) -> int:
    """Return the axis along which a slab is shorter than the crop; 0 if it is the whole crop."""
    return next((axis for axis in range(3) if slab[axis] != whole[axis]), 0)
