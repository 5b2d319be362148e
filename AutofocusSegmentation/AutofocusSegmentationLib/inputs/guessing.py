"""Which volume is which input of a model: volumes that belong together, each in the place that fits it best."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from afnet.models.manifest import Manifest

from ..scene import hierarchy
from ..scene.volumes import is_usable
from .evidence import SERIES_NUMBER, matches
from .namesakes import sets_of

_UNIT_OR_CONTRAST = re.compile(
    r"\d+([.,]\d+)?\s?(mm|t|tesla)(?![^\W_])|\+\s?c(?![^\W_])|(?<=[\s_])-c(?![^\W_])|"
    r"(?<![^\W_])(c\s?\+|(c-|w/o?|c\.\s?m\.?)(?![^\W_])|wo?(?=[\s_](contrast|gad|gd))|[mo]\.(?=\s?km))")
"""Parts of a name that are no words of their own: '3 T', '1.5 mm', '+C', '-C', 'w/o', 'c.m.', 'o. KM'."""

_PHILIPS_NUMBER = re.compile(r"^[1-9]01(?=[\W_])")
"""How Philips numbers series: '501_T1', '601_T1_GD'."""

_SEQUENCE_WORD = re.compile(
    r"(ax|sag|cor|tra|tse|fse|se|[23]d|[a-z])?t[12](w|wi|c|ce|gd|gad|km|n|f|ir|pre|post|tse|fse|se|mprage|[23]d){0,3}|"
    r"([a-z]|(ax|sag|cor|tra|[23]d|t[12]w?){0,3})flair(w|fs|[23]d){0,2}|mri?|irm|[23]d|p\d|weighted|"
    r"ax|axial|sag|sagittal|cor|coronal|tra|trans|transversal|transverse|iso|"
    r"tse|fse|frfse|se|gre|tfe|ffe|ir|tirm|mprage|mpr|fspgr|spgr|bravo|space|spc|cube|vista|flash|vibe|blade|propeller|"
    r"fl[23]d|haste|ns|mp|rage|memp|sense|thrive|(long|short)t[er]|ser\d+|single|double|dose|"
    r"dark|fluid|da|fl|dixon|spair|spir|fs|fatsat|fat|sat|"
    r"pre|post|gd|gad|gado(linium|vist|butrol)?|gadavist|dotarem|clariscan|prohance|multihance|omniscan|magnevist|"
    r"ce|km|mdc|gabe|inj|injection|injecté|(pre|post|non)?contrast[eo]?|kontrast(mittel)?|enhanced|"
    r"with|without|no|non|native?|ohne|sans|senza|sin|mit|avec|con|vor|nach|avant|après|apres|dopo|"
    r"reg|registered|coreg|to|in|on|brain|head|bias|n4|corrected|norm|normali[sz]ed|acq|run|rec|desc"
)
"""Words of a name (in lower case) that tell how an image was made. All others may tell of whom it is."""

_TECHNIQUE = re.compile(r"ax|sag|cor|tra|tse|fse|se|iso|blade|dixon|spc|fluid|fl|fs|p\d")
_MATRIX = re.compile(r"128|192|224|256|288|320|384|448|512|640|768|1024")
"""Usual numbers of voxels along a side of an MR image, and the words of scanners' names that they follow."""


@dataclass(frozen=True)
class SeveralSets:
    """What is not certain because volumes of one name are here more than once, perhaps of several patients.

    name, count: the input for which there are most volumes, and how many. other_set: filled inputs whose volume is not
    of the set that the reference's is of. left_empty: inputs that were not filled, although a volume fits.
    """

    name: str
    count: int
    other_set: tuple[str, ...]
    left_empty: tuple[str, ...]


def guess_inputs(
    manifest: Manifest, volume_nodes: Iterable, chosen: Mapping[str, object] | None = None, study: int = 0,
    tell_namesakes_apart: bool = True,
) -> dict:
    """Guess which of `volume_nodes` is which input; return input name to node, None where no node fits.

    What fits is said by the DICOM tags, then by the name (see `evidence`). No node is given twice.
    All guessed nodes belong together: one study where the subject hierarchy knows it, else names that differ only in
    words for sequences ('BraTS2021_00005 t1' and 'BraTS2021_00008 t2' do not belong together, nor 'Meier_T1' and
    'Huber_T2'), and of two sets with the same names one (see `namesakes`); of several such groups, the one that fills
    most inputs, the first among equals. Nodes of another modality, label maps, masks and hidden nodes are left out.

    chosen: inputs that the user has filled already; their nodes are not given again, and the guess is for the same
    patient. study: subject hierarchy item of the study that the guess is restricted to, 0 for all.
    tell_namesakes_apart: False to ask whether any volume would fit, be it of another set.
    Same nodes in the same order give the same answer.
    """
    chosen = {name: node for name, node in (chosen or {}).items() if node is not None}
    fits = _fitting(manifest, volume_nodes, chosen, study)
    ranks = {item.name: [(found[item.name].rank, node) for node, found in fits if item.name in found]
             for item in manifest.inputs if item.name not in chosen}
    groups = _groups(manifest, [*chosen.values(), *(node for node, _found in fits)], tell_namesakes_apart)
    lead = _lead(manifest, chosen)
    best: dict[str, object] = {}
    for group in dict.fromkeys(groups.values()) if lead is None else [groups[lead.GetID()]]:
        found = assign(manifest, {name: [(rank, node) for rank, node in pairs if groups[node.GetID()] == group]
                                  for name, pairs in ranks.items()})
        if len(found) > len(best):
            best = found
    return {item.name: chosen.get(item.name) or best.get(item.name) for item in manifest.inputs}


def fitting_nodes(manifest: Manifest, volume_nodes: Iterable) -> list:
    """Return those of `volume_nodes` that fit an input of the model, in their order."""
    return [node for node, _found in _fitting(manifest, volume_nodes, {}, 0)]


def several_sets(manifest: Manifest, inputs: Mapping[str, object], volume_nodes: Iterable) -> SeveralSets | None:
    """Return what of the chosen inputs (name to node or None) is not certain; None if no set is like another."""
    chosen = {name: node for name, node in inputs.items() if node is not None}
    lead = _lead(manifest, chosen)
    if lead is None or hierarchy.study_item(lead):
        return None
    loose = [node for node in volume_nodes if not hierarchy.study_item(node)]
    fits = _fitting(manifest, loose, {}, 0)
    nodes = {node.GetID(): node for node in (*chosen.values(), *(node for node, _found in fits))}
    groups = _groups(manifest, nodes.values())
    case, *own_set = groups[lead.GetID()]
    here = [(node, found) for node, found in fits if groups[node.GetID()][0] == case]
    if not own_set or len({groups[node.GetID()] for node, _found in here}) < 2:
        return None
    most, count = Counter(min(found, key=lambda name: found[name].rank) for _node, found in here).most_common(1)[0]
    if count == 1:
        return None
    taken = {node.GetID() for node in chosen.values()}
    return SeveralSets(
        most, count,
        tuple(name for name, node in chosen.items()
              if groups[node.GetID()][0] == case and groups[node.GetID()][1:] != tuple(own_set)),
        tuple(item.name for item in manifest.inputs if item.name not in chosen and any(
            item.name in found and node.GetID() not in taken for node, found in here)),
    )


def _fitting(manifest: Manifest, volume_nodes: Iterable, chosen: Mapping[str, object], study: int) -> list[tuple]:
    """Return (node, input name to match) of the nodes that fit an input, of a study (0: any), without the chosen."""
    taken = {node.GetID() for node in chosen.values()}
    found = []
    for node in volume_nodes:
        if node.GetID() not in taken and _is_candidate(node) and study in (0, hierarchy.study_item(node)):
            fits = matches(manifest, node)
            if fits:
                found.append((node, fits))
    return found


def _is_candidate(node) -> bool:
    return is_usable(node) and not node.GetHideFromEditors()


def named_unlike_others(nodes: Mapping[str, object], reference: str) -> list[str]:
    """Return the inputs whose volume seems to be of another patient than most by its name; the reference breaks a tie.

    nodes: input name to volume node or None. Volumes whose study is known are left out.
    """
    order = sorted(nodes, key=lambda name: name != reference)
    loose = {name: nodes[name] for name in order
             if nodes[name] is not None and not hierarchy.study_item(nodes[name])}
    series_numbered = _series_numbered(loose.values())
    cases = {name: _case_words(node, series_numbered) for name, node in loose.items()}
    usual = Counter(cases.values()).most_common(1)
    return [name for name, words in cases.items() if words != usual[0][0]]


def _groups(manifest: Manifest, nodes: Iterable, tell_namesakes_apart: bool = True) -> dict[str, tuple]:
    """Return node ID to what nodes that may be combined have in common: study or case, and the set within a case."""
    nodes = list(nodes)
    series_numbered = _series_numbered(nodes)
    cases: dict[tuple, list] = {}
    for node in nodes:
        cases.setdefault(_case(manifest, node, series_numbered), []).append(node)
    groups: dict[str, tuple] = {}
    for case, members in cases.items():
        if case[0] == "study" or len(manifest.inputs) == 1 or not tell_namesakes_apart:
            groups.update({node.GetID(): (case,) for node in members})
        else:
            groups.update({identifier: (case, one_set) for identifier, one_set in sets_of(members).items()})
    return groups


def _case(manifest: Manifest, node, series_numbered: bool) -> tuple:
    """Return a node's study; where none is known, the folder of the scene and the words that may tell of whom it is."""
    study = hierarchy.study_item(node)
    if study:
        return ("study", study)
    return ("case", hierarchy.parent_item(node), _case_words(node, series_numbered) if len(manifest.inputs) > 1 else ())


def _series_numbered(nodes: Iterable) -> bool:
    """Tell whether numbers before the names may be Philips's of the series: one that is there twice is a patient's."""
    numbers = Counter(found[0] for node in nodes if (found := _PHILIPS_NUMBER.match(node.GetName() or "")))
    return max(numbers.values(), default=0) == 1


def _case_words(node, series_numbered: bool) -> tuple[str, ...]:
    """Return the words of a volume's name that may tell of whom it is: those that tell no sequence.

    A number of one or two digits is a series' number ('T1_5'), unless it numbers such a word ('patient 2'). A longer
    one is the matrix if it may be and follows a word for the technique ('t2_tse_tra_448', a scanner's name), not a bare
    'T1', where it is as likely a patient's. series_numbered: leave out Philips's number too.
    """
    name = _UNIT_OR_CONTRAST.sub(" ", SERIES_NUMBER.sub("", node.GetName() or "").casefold())
    if series_numbered:
        name = _PHILIPS_NUMBER.sub("", name)
    words: list[str] = []
    before, numbers_a_word = "", False
    for word in re.findall(r"[^\W_]+", name):
        of_case = not _SEQUENCE_WORD.fullmatch(word)
        of_series = re.fullmatch(r"\d{1,2}", word) or (_MATRIX.fullmatch(word) and _TECHNIQUE.fullmatch(before))
        if of_case and (numbers_a_word or not of_series):
            words.append(word)
        before, numbers_a_word = word, of_case and not word.isdigit()
    return tuple(words)


def _lead(manifest: Manifest, chosen: Mapping[str, object]):
    """Return the node that tells which patient is meant: the reference's, else the first; None if none is chosen."""
    return chosen.get(manifest.reference) or next(iter(chosen.values()), None)


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
