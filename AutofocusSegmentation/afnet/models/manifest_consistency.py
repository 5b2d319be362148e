"""What the schema of `model.json` cannot say: names, codes and kinds that refer to each other."""

import re
from itertools import combinations

from ..architectures import widths_fit
from ..hounsfield import HIGHEST_HU
from .laterality import outputs_in_a_mirror


def inconsistencies(document: dict) -> list[str]:
    """Return what is wrong in a document that keeps to the schema, a phrase each; nothing if it can be used."""
    found = _input_problems(document) + _code_problems(document) + _plausibility_problems(document)
    found += _correlation_problems(document) + _mirror_problems(document)
    network = document["network"]
    if not widths_fit(network["name"], len(network["widths"])):
        found.append(f"network.widths has a wrong number of entries for {network['name']}")
    ids = [structure["id"] for structure in document["structures"]]
    if len(set(ids)) < len(ids):
        found.append("two structures have the same id")
    return found


def _input_problems(document: dict) -> list[str]:
    inputs = [item["name"] for item in document["inputs"]]
    modalities = {item["modality"] for item in document["inputs"]}
    found = []
    if document["reference"] not in inputs:
        found.append("reference is not the name of an input")
    if len(set(inputs)) < len(inputs):
        found.append("two inputs have the same name")
    if len(modalities) > 1:
        found.append("inputs of different modalities are mixed, which this version cannot prepare")
    elif modalities == {"CT"} and len(inputs) > 1:
        found.append("a CT model has one input, and this one has more")
    for item in document["inputs"]:
        for pattern in item["name_patterns"]:
            try:
                re.compile(pattern)
            except re.error:
                found.append(f"the name pattern {pattern} is not a regular expression")
    for channel in document["channels"]:
        if channel["input"] not in inputs:
            found.append(f"channel input {channel['input']} is not the name of an input")
        if channel["normalisation"] != ("window" if modalities == {"CT"} else "z-score"):
            found.append(f"the normalisation {channel['normalisation']} does not suit the modality")
        low, high = channel.get("window_hu", (0, 1))
        if not low < high <= HIGHEST_HU:
            found.append(f"a channel's window_hu must rise, to {HIGHEST_HU} at most")
    return found


def _correlation_problems(document: dict) -> list[str]:
    """Pairs that are missing or there twice, and inputs of which one pair says nothing."""
    rows = document.get("correlations")
    if not rows:
        return []
    pairs = sorted(sorted(row["inputs"]) for row in rows)
    names = sorted(item["name"] for item in document["inputs"])
    found = []
    if len(names) < 3:
        found.append("correlations need three inputs: that of one pair is the same in either order")
    if pairs != [list(pair) for pair in combinations(names, 2)]:
        found.append("correlations must have one row for each pair of inputs")
    if not {channel["input"] for channel in document["channels"]}.issuperset(names):
        found.append("correlations need a channel of every input")
    return found


def _mirror_problems(document: dict) -> list[str]:
    try:
        if document.get("companion", {}).get("mirrored"):
            outputs_in_a_mirror(document)
    except ValueError as error:
        return [f"the companion cannot be mirrored: {error}"]
    return []


def _code_problems(document: dict) -> list[str]:
    codes = [item["code"] for item in document["labelmap"]]
    decoding = document["decoding"]
    background = [0] if decoding["kind"] == "argmax" else []
    found = []
    if len(set(codes)) < len(codes):
        found.append("two entries of the label map have the same code")
    for structure in document["structures"]:
        if not set(codes).issuperset(structure["labels"]):
            found.append(f"structure {structure['id']} uses a code that the label map does not have")
    if background and 0 not in decoding["codes"]:
        found.append("argmax needs the background, code 0, among the codes of decoding")
    absorbed = [rule[end] for rule in decoding.get("absorbed", []) for end in ("code", "into")]
    for code in decoding["codes"] + decoding.get("expected", []) + decoding.get("largest_component", []) + absorbed:
        if code not in codes + background:
            found.append(f"decoding uses the code {code}, which the label map does not have")
    for structure in document["structures"]:
        if not set(decoding["codes"]).intersection(structure["labels"]):
            found.append(f"structure {structure['id']} has no code that decoding gives")
    return found or _nesting_problems(document)


def _nesting_problems(document: dict) -> list[str]:
    """Of nested regions, structure k is the region of output k: it consists of that output's code and all codes further
    in. Training and fine-tuning pair truth, outputs and structures by their position."""
    decoding, structures = document["decoding"], document["structures"]
    if decoding["kind"] != "nested":
        return []
    if len(structures) != len(decoding["codes"]):
        return ["nested decoding needs one structure for each of its codes"]
    regions = [set(decoding["codes"][place:]) for place in range(len(structures))]
    if all(set(structure["labels"]) in regions for structure in structures):
        in_order = [set(structure["labels"]) for structure in structures] == regions
        return [] if in_order else ["nested decoding needs its structures listed from the outermost to the innermost"]
    return [
        f"structure {structure['id']} is not the nested region of its place: its labels must be "
        f"{', '.join(map(str, decoding['codes'][place:]))}, in any order"
        for place, structure in enumerate(structures)
        if set(structure["labels"]) != regions[place]
    ]


def _plausibility_problems(document: dict) -> list[str]:
    """Limits on codes that do not exist, that cannot be kept, or in a unit that the images do not have."""
    rules = document.get("plausibility")
    if not rules:
        return []
    codes = [item["code"] for item in document["labelmap"]]
    limits = rules["structures"] + rules["positions"] + rules.get("touching", [])
    used = [code for item in limits for code in [item["code"], *item.get("of", []), *item.get("beside", [])]]
    found = []
    for code in used + rules["left_out_if_doubtful"]:
        if code not in codes:
            found.append(f"plausibility uses the code {code}, which the label map does not have")
    for item in limits:
        ranges = [item[key] for key in ("volume_ml", "distance_mm") if key in item] + item.get("median_hu", [])
        if any(low > high for low, high in ranges):
            found.append(f"a limit of plausibility for the code {item['code']} must rise")
    in_hu = "metal" in rules or any("median_hu" in item for item in limits)
    if in_hu and {item["modality"] for item in document["inputs"]} != {"CT"}:
        found.append("plausibility has limits in HU, which only CT has")
    return found
