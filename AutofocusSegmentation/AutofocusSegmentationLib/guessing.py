"""Which volume is which input of a model, by the volumes' names and what the subject hierarchy knows of them."""

import re
from collections.abc import Callable, Iterable, Mapping

from afnet.manifest import Input, Manifest

from . import hierarchy
from .volumes import is_usable

NO_SCAN = re.compile(r"(?<![a-z])(mask|seg|label|dose|rtstruct|attention|adc|brainmask)", re.IGNORECASE)
"""Names of images that are derived from a scan and are no input."""

_SERIES_NUMBER = re.compile(r"^\s*\d+\s*:\s*")
_SEQUENCE_WORD = re.compile(r"[23]d|^t[12]|tesla|^\d{1,2}(mm|t)?$", re.IGNORECASE)


def guess_inputs(manifest: Manifest, volume_nodes: Iterable, chosen: Mapping[str, object] | None = None) -> dict:
    """Guess which of `volume_nodes` is which input; return input name to node, None where no node fits.

    A node's name is searched for each input's name patterns; an earlier pattern counts more. No node is given twice.
    All guessed nodes belong together: one study where the subject hierarchy knows it, else names with the same
    case number ('BraTS2021_00005 t1' and 'BraTS2021_00008 t2' do not); of several such groups, the one that fills
    most inputs, the first among equals. Nodes of another modality, label maps, masks and hidden nodes are left out.

    chosen: inputs that the user has filled already; their nodes are not given again, and the guess is for the same
    patient. Same nodes in the same order give the same answer.
    """
    chosen = {name: node for name, node in (chosen or {}).items() if node is not None}
    taken = {node.GetID() for node in chosen.values()}
    ranks: dict[str, list[tuple[int, object]]] = {item.name: [] for item in manifest.inputs if item.name not in chosen}
    groups: dict[str, tuple] = {}
    for node in volume_nodes:
        if node.GetID() in taken or not _is_candidate(node):
            continue
        for item in manifest.inputs:
            rank, before = _match(manifest, item, node)
            if item.name in ranks and rank is not None:
                ranks[item.name].append((rank, node))
                groups.setdefault(node.GetID(), _group(node, before))

    possible = _groups_of_chosen(manifest, chosen) or list(dict.fromkeys(groups.values()))
    best: dict[str, object] = {}
    for group in possible:
        found = assign(manifest, {name: [(rank, node) for rank, node in pairs if groups[node.GetID()] == group]
                                  for name, pairs in ranks.items()})
        if len(found) > len(best):
            best = found
    return {item.name: chosen.get(item.name) or best.get(item.name) for item in manifest.inputs}


def _is_candidate(node) -> bool:
    return is_usable(node) and not node.GetHideFromEditors() and not NO_SCAN.search(node.GetName() or "")


def _match(manifest: Manifest, item, node) -> tuple[int | None, str]:
    """Return the number of the first pattern that fits (None: none does) and what the name has before it."""
    modality = hierarchy.modality(node)
    if modality and modality != item.modality:
        return None, ""
    name = _SERIES_NUMBER.sub("", node.GetName() or "")
    rank = rank_of_name(item, name)
    if rank is not None:
        return rank, name
    if modality and len(manifest.inputs) == 1:
        return len(item.name_patterns), name
    return None, ""


def rank_of_name(item: Input, name: str) -> int | None:
    """Return the number of the first of an input's name patterns that fits a name; None: none does."""
    found = (rank for rank, pattern in enumerate(item.name_patterns) if re.search(pattern, name, re.IGNORECASE))
    return next(found, None)


def _group(node, name: str) -> tuple:
    """Return what nodes that may be combined have in common."""
    study = hierarchy.study_item(node)
    return ("study", study) if study else ("case", hierarchy.parent_item(node), _case_number(name))


def _case_number(name: str) -> tuple[str, ...]:
    """Return the words of a name that number a case: those with at least two digits that tell no sequence."""
    words = re.split(r"[\s_.]+", name.casefold())
    return tuple(word for word in words if len(re.findall(r"\d", word)) >= 2 and not _SEQUENCE_WORD.search(word))


def _groups_of_chosen(manifest: Manifest, chosen: Mapping[str, object]) -> list[tuple]:
    node = chosen.get(manifest.reference) or next(iter(chosen.values()), None)
    return [_group(node, _SERIES_NUMBER.sub("", node.GetName() or ""))] if node is not None else []


def _node_id(node) -> str:
    return node.GetID()


def assign(
    manifest: Manifest, ranks: Mapping[str, list[tuple[int, object]]], key: Callable[[object], str] = _node_id
) -> dict:
    """Give each input the node of its best pattern; where a node fits two inputs, its better pattern decides.

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
