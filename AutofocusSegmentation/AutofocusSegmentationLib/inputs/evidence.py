"""What tells which input of a model a volume is: DICOM's series description, then its times, then the name.

Later sources are used only if no earlier one fits an input of the model. All of them are matched with the name patterns
of the model's manifest, so that a new model needs no code.
"""

import re
from dataclasses import dataclass
from textwrap import shorten

from slicer.i18n import tr as _

from afnet.images.names import first_match
from afnet.models.manifest import Manifest

from .dicom_tags import SeriesTags, modality_of, series_tags

_SCANNED_WITH = "".join(
    f"(?<!{word}[ _-])"
    for word in "low reduced standard half full single double triple quarter normal high care".split()
)
"""Not after these words: a low-dose CT and CARE Dose are scans, not maps of a dose, and so is a series with a single
dose of contrast agent."""

NO_SCAN = re.compile(
    rf"(?<![a-z])(mask(?![ _-]?rt)|brainmask|seg|segmentation|segments|labels?|labelmap|{_SCANNED_WITH}(rt)?dose|"
    r"rtstruct|attention|adc|mip|minip|scout|locali[sz]er|topogram\w*|surview|scanogram|subtra[ck]t\w*|minus|"
    r"(?<=[\s_-])sub(?!-|[\s_]*\d)|post[a-z]*[\s_]*-[\s_]*(t1w?[\s_-]*)?pre(?![\s_-]*(op|rt)))(?![a-z])",
    re.IGNORECASE,
)
"""Names of images that are derived from a scan, or made to plan one, and so are no input. A scan of a patient in a mask
for radiotherapy (RT) is one, and 'sub-01' is a subject in BIDS, not a subtraction."""

SERIES_NUMBER = re.compile(r"^\s*\d+\s*:\s*")
"""What Slicer's DICOM reader writes before a series description: '6: AX T1 C+'."""

_OTHER_SEQUENCE = re.compile(
    r"(?<![a-z])(dwi|dti|diff|ep2d|trace|swi|swan|tof|mra|mrv|angio|perf|dsc|dce|asl|bold|fmri|loc|scout|survey|stir|"
    r"pd|pdw|t2\s?\*|t2star|mrs|fa|cbf|cbv|mtt)(?![a-z])",
    re.IGNORECASE,
)
"""Series whose times look like T1 or T2, but which are neither."""

_WITHOUT_CONTRAST = re.compile(
    r"(?<![a-z])((pre|vor|avant)(?![\s_-]*(op|rt|rad|surg|treat|bestr|chir))|nativ\w*|"
    r"(no|non|without|w/?o|ohne|sans|senza|sin)(?![\s_-]*(fs|fat|fett|sat))|"
    r"o\.\s?km|(?<!\d)c-(?!\d)|(?<=[\s_])-c(?!\d))(?![a-z])",
    re.IGNORECASE,
)
"""Words in the description of a series whose tags name a contrast agent: it had not been given yet. 'Before' an
operation and 'without' fat saturation mean something else."""

_LONG_ECHO_MS, _SHORT_ECHO_MS, _SHORT_GRADIENT_ECHO_MS = 60, 30, 15
_SHORT_REPETITION_MS, _FLUID_NULLED_MS, _T1_INVERSION_MS = 1000, 1500, (300, 1400)
"""Usual limits at 1.5 and 3 T. Fluid is nulled at ln 2 times its T1 of about 4 s, less what a finite TR takes off:
1700 to 2800 ms; MPRAGE inverts at 700 to 1200 ms (Bernstein, King, Zhou: Handbook of MRI Pulse Sequences, 2004)."""

_A_SOURCE = 1000
"""Ranks of a source of evidence begin at a multiple of this; there are fewer patterns than that."""


@dataclass(frozen=True)
class InputMatch:
    """A volume fits an input. rank: lower is better. reason: what says so, to follow 'by'."""

    rank: int
    reason: str


def matches(manifest: Manifest, node) -> dict[str, InputMatch]:
    """Return input name to InputMatch for the inputs of the model that a volume node fits; empty if none."""
    modality, tags = modality_of(node), series_tags(node)
    items = [item for item in manifest.inputs if modality in ("", item.modality)]
    if not items or _derived(node, tags):
        return {}
    for number, (text, reason) in enumerate(_sources(node, tags)):
        found = {}
        for item in items:
            rank = first_match(item.name_patterns, text)
            if rank is not None:
                found[item.name] = InputMatch(number * _A_SOURCE + rank, reason)
        if found:
            return found
    if modality and len(manifest.inputs) == 1:
        return {items[0].name: InputMatch(10 * _A_SOURCE, _("modality {modality}").format(modality=modality))}
    return {}


def _derived(node, tags: SeriesTags) -> str:
    """Return the word that says that a volume is derived from a scan; empty if there is none."""
    found = NO_SCAN.search(tags.description) or NO_SCAN.search(node.GetName() or "")
    return found[0] if found else ""


def explain(manifest: Manifest, name: str, node) -> str:
    """Return one sentence on why a volume node is taken as the input `name`, or what speaks against it."""
    found = matches(manifest, node)
    if name in found:
        return _("Chosen by {reason}.").format(reason=found[name].reason)
    if found:
        other = min(found, key=lambda each: found[each].rank)
        return _("Looks like {title}, judging by {reason}: check it.").format(
            title=manifest.input(other).title, reason=found[other].reason)
    derived = _derived(node, series_tags(node))
    if derived:
        return _("Its name or description contains '{word}', as overviews and images computed from a scan do: check "
                 "that it is the scan itself.").format(word=derived)
    return _("Neither its DICOM tags nor its name say what it is: check it.")


def weighting(tags: SeriesTags) -> str:
    """Return 'T1', 'T2' or 'FLAIR' by the times of a spin or gradient echo; empty if they do not tell."""
    echo, repetition, inversion = tags.echo_time, tags.repetition_time, tags.inversion_time
    if echo is None or "EP" in tags.scanning_sequence or _OTHER_SEQUENCE.search(tags.description):
        return ""
    if echo >= _LONG_ECHO_MS:
        if inversion is None:
            return "T2"
        return "FLAIR" if inversion >= _FLUID_NULLED_MS else ""
    gradient = "GR" in tags.scanning_sequence
    if echo > (_SHORT_GRADIENT_ECHO_MS if gradient else _SHORT_ECHO_MS):
        return ""
    inverted = inversion is not None and _T1_INVERSION_MS[0] <= inversion <= _T1_INVERSION_MS[1]
    short = repetition is not None and repetition <= _SHORT_REPETITION_MS and inversion is None
    return "T1" if inverted or short else ""


def _sources(node, tags: SeriesTags) -> list[tuple[str, str]]:
    """Return (text to match, reason to tell) in the order in which they count."""
    sources = []
    if tags.description:
        contrast = bool(tags.contrast_agent) and not _WITHOUT_CONTRAST.search(tags.description)
        reason = _("series description '{text}'").format(text=shorten(tags.description, 40, placeholder=" ..."))
        if contrast:
            reason = _("{reason} with contrast agent").format(reason=reason)
        sources.append((f"{tags.description} post contrast" if contrast else tags.description, reason))
    weighted = weighting(tags)
    if weighted:
        reason = _("echo time {echo:g} ms").format(echo=tags.echo_time)
        if tags.inversion_time is not None:
            reason += _(", inversion time {inversion:g} ms").format(inversion=tags.inversion_time)
        elif tags.repetition_time is not None:
            reason += _(", repetition time {repetition:g} ms").format(repetition=tags.repetition_time)
        if tags.contrast_agent:
            weighted += " post contrast"
            reason += _(", contrast agent")
        sources.append((weighted, reason))
    name = SERIES_NUMBER.sub("", node.GetName() or "")
    sources.append((name, _("its name")))
    return sources
