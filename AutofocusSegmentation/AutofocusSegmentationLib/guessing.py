"""Which volume is which input of a model: volumes that belong together, each in the place that fits it best."""

import re
from collections.abc import Callable, Iterable, Mapping

from afnet.manifest import Manifest

from . import hierarchy
from .evidence import SERIES_NUMBER, matches
from .volumes import is_usable

_SEQUENCE_WORD = re.compile(r"[23]d|^t[12]|tesla|^\d{1,2}(mm|t)?$", re.IGNORECASE)


def guess_inputs(
    manifest: Manifest, volume_nodes: Iterable, chosen: Mapping[str, object] | None = None, study: int = 0
) -> dict:
    """Guess which of `volume_nodes` is which input; return input name to node, None where no node fits.

    What fits is said by the DICOM tags, then by the name (see `evidence`). No node is given twice.
    All guessed nodes belong together: one study where the subject hierarchy knows it, else names with the same
    case number ('BraTS2021_00005 t1' and 'BraTS2021_00008 t2' do not); of several such groups, the one that fills
    most inputs, the first among equals. Nodes of another modality, label maps, masks and hidden nodes are left out.

    chosen: inputs that the user has filled already; their nodes are not given again, and the guess is for the same
    patient. study: subject hierarchy item of the study that the guess is restricted to, 0 for all.
    Same nodes in the same order give the same answer.
    """
    chosen = {name: node for name, node in (chosen or {}).items() if node is not None}
    taken = {node.GetID() for node in chosen.values()}
    ranks: dict[str, list[tuple[int, object]]] = {item.name: [] for item in manifest.inputs if item.name not in chosen}
    groups: dict[str, tuple] = {}
    for node in volume_nodes:
        if node.GetID() in taken or not _is_candidate(node) or study not in (0, hierarchy.study_item(node)):
            continue
        for name, match in matches(manifest, node).items():
            if name in ranks:
                ranks[name].append((match.rank, node))
                groups.setdefault(node.GetID(), _group(node))

    possible = _groups_of_chosen(manifest, chosen) or list(dict.fromkeys(groups.values()))
    best: dict[str, object] = {}
    for group in possible:
        found = assign(manifest, {name: [(rank, node) for rank, node in pairs if groups[node.GetID()] == group]
                                  for name, pairs in ranks.items()})
        if len(found) > len(best):
            best = found
    return {item.name: chosen.get(item.name) or best.get(item.name) for item in manifest.inputs}


def _is_candidate(node) -> bool:
    return is_usable(node) and not node.GetHideFromEditors()


def _group(node) -> tuple:
    """Return what nodes that may be combined have in common."""
    study = hierarchy.study_item(node)
    if study:
        return ("study", study)
    return ("case", hierarchy.parent_item(node), _case_number(SERIES_NUMBER.sub("", node.GetName() or "")))


def _case_number(name: str) -> tuple[str, ...]:
    """Return the words of a name that number a case: those with at least two digits that tell no sequence."""
    words = re.split(r"[\s_.]+", name.casefold())
    return tuple(word for word in words if len(re.findall(r"\d", word)) >= 2 and not _SEQUENCE_WORD.search(word))


def _groups_of_chosen(manifest: Manifest, chosen: Mapping[str, object]) -> list[tuple]:
    node = chosen.get(manifest.reference) or next(iter(chosen.values()), None)
    return [_group(node)] if node is not None else []


def _node_id(node) -> str:
    return node.GetID()


def assign(
    manifest: Manifest, ranks: Mapping[str, list[tuple[int, object]]], key: Callable[[object], str] = _node_id
) -> dict:
    """Give each input the node of its best match; where a node fits two inputs, its better match decides.

    key: tells nodes, or what else is given out, apart.
    """
    order = [item.name for item in manifest.inputs]
    pairs = sorted(
        ((rank, order.index(name), place, node) for name, found in ranks.items()
         for place, (rank, node) in enumerate(found)),
        key=lambda pair: pair[:3],
    )
    result: dict[str, object] = {}
    used: set[str] = set()
    for _, number, _, node in pairs:
        if order[number] not in result and key(node) not in used:
            result[order[number]] = node
            used.add(key(node))
    return result
