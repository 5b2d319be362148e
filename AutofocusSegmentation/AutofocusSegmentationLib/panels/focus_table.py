"""The table of how far the network looks in each structure, for one layer."""

from ..attention.statistics import SegmentFocus
from . import tables


def fill(table, measurements: list[SegmentFocus], layer: str) -> None:
    """Show one row a segment: colour, name, mean and 5–95 %; dashes if it has no voxels in the patient's maps."""
    tables.fill(table, [_items(each, layer) for each in measurements])


def _items(each: SegmentFocus, layer: str) -> list:
    focus = each.layers.get(layer)
    mean = f"{focus.mean:.1f}" if focus else "–"
    spread = f"{focus.percentiles[0]:.0f}–{focus.percentiles[-1]:.0f}" if focus else "–"
    return [tables.swatch_item(each.color), tables.text_item(each.name), tables.number_item(mean),
            tables.number_item(spread)]
