"""The segments that the header of a .seg.nrrd describes. No SimpleITK, so that the Slicer side reads its results by it.

Fields: Slicer's developer guide, "Segmentations", and what Slicer 5.12 writes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Segment:
    """One segment of a file: voxels of `layer` that hold `label`."""

    id: str
    name: str
    layer: int
    label: int
    tags: dict[str, str] = field(default_factory=dict)


def read_segments(texts: Mapping[str, str]) -> tuple[Segment, ...]:
    """Return the segments that a header's key/value pairs describe, in the order of their numbers.

    Raises ValueError unless each has its id, its layer, and a label that is not background.
    """
    numbers = {int(found[1]) for key in texts if (found := re.match(r"Segment(\d+)_", key))}
    segments = []
    for prefix in (f"Segment{number}_" for number in sorted(numbers)):
        tags = dict(part.split(":", 1) for part in texts.get(prefix + "Tags", "").split("|") if ":" in part)
        if not {prefix + "ID", prefix + "Layer", prefix + "LabelValue"}.issubset(texts):
            raise ValueError("a segment without id, layer or label")
        layer, label = int(texts[prefix + "Layer"]), int(texts[prefix + "LabelValue"])
        if layer < 0 or label < 1:
            raise ValueError("a segment in no layer, or with the label of the background")
        segments.append(Segment(texts[prefix + "ID"], texts.get(prefix + "Name", ""), layer, label, tags))
    return tuple(segments)
