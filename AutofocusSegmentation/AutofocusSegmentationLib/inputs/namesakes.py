"""Volumes that have the same name but for a number, as the files of two patients have: which of them belong together.

Slicer numbers what it loads under a name that is taken: 't1' of one patient is 't1', that of the next 't1_1'.
"""

import os
import re
from collections.abc import Iterable
from itertools import combinations

_NUMBERED = re.compile(r"(.*?)_(\d{1,2})", re.DOTALL)


def sets_of(nodes: Iterable) -> dict[str, tuple]:
    """Return node ID to what it has in common with the volumes of its set; all the same if there is only one set.

    There are several if one name is there twice (the same file loaded again does not count). They are told apart by
    the folders of their files if they can be, else by their numbers. A number that Slicer gave tells of a set only if
    the name is there as often as any: of two 't1' and one 'flair', the 'flair' may be of either patient, and is a set
    of its own. If only one name is there more than once, it is one set with a surplus volume, as a module's output is,
    unless the folders tell otherwise. Numbers that no two names share are series' numbers ('t1_3', 't1_4', 't2_5').
    """
    nodes = list(nodes)
    names: dict[str, dict[int, list]] = {}  # name without number -> number -> nodes
    seen: dict[tuple[str, str], int] = {}  # name, file -> number
    for node in nodes:
        name, number = _name_and_number(node)
        numbers, file = names.setdefault(name, {}), (name, _file(node) or node.GetID())
        if file not in seen:
            seen[file] = number if number not in numbers else max(numbers) + 1  # of one name: as if Slicer had numbered
        numbers.setdefault(seen[file], []).append(node)
    several = [numbers for numbers in names.values() if len(numbers) > 1]
    if not several or not any(set(one) & set(other) for one, other in combinations(names.values(), 2)):
        return {node.GetID(): () for node in nodes}
    if _folders_tell(several, nodes):
        return {node.GetID(): ("folder", os.path.dirname(_file(node))) for node in nodes}
    if len(several) == 1:
        return {node.GetID(): () for node in nodes}
    most = max(len(numbers) for numbers in several)
    by_slicer = any(0 in numbers for numbers in several)
    return {
        node.GetID(): ("alone", node.GetID()) if by_slicer and len(numbers) < most else ("number", number)
        for numbers in names.values() for number, alike in numbers.items() for node in alike
    }


def _name_and_number(node) -> tuple[str, int]:
    """Return a node's name without its number, and the number; 0 for none."""
    name = (node.GetName() or "").casefold()
    found = _NUMBERED.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 0)


def _file(node) -> str:
    """Return the path of the file that a node was read from; empty if it is not known."""
    storage = node.GetStorageNode()
    return (storage.GetFileName() or "") if storage is not None else ""


def _folders_tell(several: list[dict[int, list]], nodes: list) -> bool:
    """Tell whether volumes of one name are from different folders, and a folder holds more than one volume."""
    for numbers in several:
        folders = [os.path.dirname(_file(alike[0])) for alike in numbers.values()]
        if "" in folders or len(set(folders)) < len(folders):
            return False
    known = [folder for node in nodes if (folder := os.path.dirname(_file(node)))]
    return len(set(known)) < len(known)
