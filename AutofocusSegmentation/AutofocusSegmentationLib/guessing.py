"""Which volume is which input of a model: volumes that belong together, each in the place that fits it best."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from afnet.models.manifest import Manifest

from . import hierarchy
from .evidence import SERIES_NUMBER, matches
from .volumes import is_usable

_UNIT_OR_CONTRAST = re.compile(
    r"\d+([.,]\d+)?\s?(mm|t|tesla)(?![^\W_])|\+\s?c(?![^\W_])|(?<![^\W_])c\s?\+|(?<![^\W_])w/o?(?![^\W_])")
"""Parts of a name that are no words of their own: '3 T', '1.5 mm', '+C', 'w/o'."""

_SEQUENCE_WORD = re.compile(
    r"(ax|sag|cor|tra|tse|fse|se|[23]d)?t[12](w|wi|c|ce|gd|gad|km|n|f|ir|pre|post|tse|fse|se|mprage|[23]d){0,3}|"
    r"(ax|sag|cor|tra|[23]d|t[12]w?){0,3}flair(w|fs|[23]d){0,2}|mri?|irm|[23]d|p\d|weighted|"
    r"ax|axial|sag|sagittal|cor|coronal|tra|trans|transversal|transverse|iso|"
    r"tse|fse|frfse|se|gre|tfe|ffe|ir|tirm|mprage|mpr|fspgr|spgr|bravo|space|spc|cube|vista|flash|vibe|blade|propeller|"
    r"dark|fluid|da|fl|dixon|spair|spir|fs|fatsat|fat|sat|"
    r"pre|post|gd|gad|gado(linium|vist|butrol)?|gadavist|dotarem|clariscan|prohance|multihance|omniscan|magnevist|"
    r"ce|km|mdc|inj|injection|injecté|(pre|post|non)?contrast[eo]?|kontrast(mittel)?|enhanced|"
    r"with|without|no|non|native?|ohne|sans|senza|sin|mit|avec|con|vor|nach|avant|après|apres|dopo|"
    r"reg|registered|coreg|to|in|on|brain|head|bias|n4|corrected|norm|normali[sz]ed|acq|run|rec|desc"
)
"""Words of a name (in lower case) that tell how an image was made. All others may tell of whom it is."""

_TECHNIQUE = re.compile(r"ax|sag|cor|tra|tse|fse|se|iso|blade|dixon|spc|fluid|fl|fs|p\d")
_MATRIX = re.compile(r"128|192|224|256|288|320|384|448|512|640|768|1024")
"""Usual numbers of voxels along a side of an MR image, and the words of scanners' names that they follow."""


def guess_inputs(
    manifest: Manifest, volume_nodes: Iterable, chosen: Mapping[str, object] | None = None, study: int = 0
) -> dict:
    """Guess which of `volume_nodes` is which input; return input name to node, None where no node fits.

    What fits is said by the DICOM tags, then by the name (see `evidence`). No node is given twice.
    All guessed nodes belong together: one study where the subject hierarchy knows it, else names that differ only in
    words for sequences ('BraTS2021_00005 t1' and 'BraTS2021_00008 t2' do not belong together, nor 'Meier_T1' and
    'Huber_T2'); of several such groups, the one that fills most inputs, the first among equals. Nodes of another
    modality, label maps, masks and hidden nodes are left out.

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
                groups.setdefault(node.GetID(), _group(manifest, node))

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


def named_unlike_others(nodes: Mapping[str, object], reference: str) -> list[str]:
    """Return the inputs whose volume seems to be of another patient than most by its name; the reference breaks a tie.

    nodes: input name to volume node or None. Volumes whose study is known are left out.
    """
    order = sorted(nodes, key=lambda name: name != reference)
    cases = {name: _case_words(nodes[name]) for name in order
             if nodes[name] is not None and not hierarchy.study_item(nodes[name])}
    usual = Counter(cases.values()).most_common(1)
    return [name for name, words in cases.items() if words != usual[0][0]]


def _group(manifest: Manifest, node) -> tuple:
    """Return what nodes that may be combined have in common."""
    study = hierarchy.study_item(node)
    if study:
        return ("study", study)
    return ("case", hierarchy.parent_item(node), _case_words(node) if len(manifest.inputs) > 1 else ())


def _case_words(node) -> tuple[str, ...]:
    """Return the words of a volume's name that may tell of whom it is: those that tell no sequence.

    A number of one or two digits is a series' number ('T1_5'), unless it numbers such a word ('patient 2'). A longer
    one is the matrix if it may be and follows a word for the technique ('t2_tse_tra_448', a scanner's name), not a bare
    'T1', where it is as likely a patient's.
    """
    name = _UNIT_OR_CONTRAST.sub(" ", SERIES_NUMBER.sub("", node.GetName() or "").casefold())
    words: list[str] = []
    before, numbers_a_word = "", False
    for word in re.findall(r"[^\W_]+", name):
        told = not _SEQUENCE_WORD.fullmatch(word)
        of_series = re.fullmatch(r"\d{1,2}", word) or (_MATRIX.fullmatch(word) and _TECHNIQUE.fullmatch(before))
        if told and (numbers_a_word or not of_series):
            words.append(word)
        before, numbers_a_word = word, told and not word.isdigit()
    return tuple(words)


def _groups_of_chosen(manifest: Manifest, chosen: Mapping[str, object]) -> list[tuple]:
    node = chosen.get(manifest.reference) or next(iter(chosen.values()), None)
    return [_group(manifest, node)] if node is not None else []


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
