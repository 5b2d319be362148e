"""The new model's label set: what of the base model's stays, goes and comes, and the network's outputs for it."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..errors import RequestError
from ..models.manifest import Manifest, Structure
from ..networks import AutofocusNetwork
from ..output.segment_tags import names_of, words_of

COLORS = ((200, 100, 90), (100, 160, 220), (120, 190, 90), (220, 170, 60), (170, 110, 200), (90, 190, 180))
"""Colours of added structures that come without one, in turn."""

NEW_OUTPUT_SPREAD = 0.01
"""Standard deviation of a new output's weights, so that it begins as a constant."""

NEW_OUTPUT_BIAS = -4.0
"""A new class begins this far below the lowest of the others' mean bias: found nowhere."""


@dataclass(frozen=True)
class LabelSet:
    """`structures`: those of the new model in order, with codes of the base's label maps (new codes for added ones).

    `sources`: for each output of the new network the base's output that it continues, or None; `gone`: outputs of the
    base that are dropped. `channels`: for each structure the outputs that it is the union of. `document`: the parts of
    the new model.json that depend on the labels.
    """

    kind: str
    structures: tuple[Structure, ...]
    sources: tuple[int | None, ...]
    gone: tuple[int, ...]
    channels: tuple[tuple[int, ...], ...]
    document: dict

    @property
    def added(self) -> tuple[bool, ...]:
        """For each structure whether the base model does not know it."""
        return tuple(any(self.sources[channel] is None for channel in channels) for channels in self.channels)


def change_labels(base: Manifest, drop: tuple[str, ...] = (), add: tuple[dict, ...] = ()) -> LabelSet:
    """Return the label set of `base` without the structures `drop` and with those of `add`. Raises RequestError.

    Exclusive classes (argmax) may shrink and grow: a dropped class becomes background. Nested regions may only shrink.
    """
    kind, codes = base.output_kind, base.output_codes
    known = [structure.id for structure in base.structures]
    for id in drop:
        if id not in known:
            raise RequestError(f"The model {base.id} has no structure '{id}' to drop; it has {', '.join(known)}.")
    if kind == "nested" and add:
        raise RequestError(
            f"The structures of {base.id} lie inside one another, so no structure can be added to it; remove it from "
            "the list of cases."
        )
    if kind == "argmax" and codes[0] != 0:
        raise RequestError(f"The model {base.id} does not begin with the background, so it cannot be fine-tuned.")
    kept = [structure for structure in base.structures if structure.id not in drop]
    if kind == "nested":  # output k is the region of structure k, whose own code is codes[k]
        lost = {codes[known.index(id)] for id in drop}
    else:
        lost = set(codes[1:]) - {label for structure in kept for label in structure.labels}
    fresh = _added(add, known, kept, set(codes))
    if not kept and not fresh:
        raise RequestError("No structure would be left to learn; drop fewer.")
    sources = [channel for channel, code in enumerate(codes) if code not in lost] + [None] * len(fresh)
    new_codes = [code for code in codes if code not in lost] + [structure.labels[0] for structure in fresh]
    structures = (*kept, *fresh)
    if kind == "nested":
        channels = tuple((number,) for number in range(len(structures)))
    else:
        # An imported model has two outputs with one code.
        channels = tuple(
            tuple(channel for channel, code in enumerate(new_codes) if code in structure.labels)
            for structure in structures
        )
    gone = tuple(channel for channel, code in enumerate(codes) if code in lost)
    return LabelSet(kind, structures, tuple(sources), gone, channels, _document(base, structures, new_codes, lost))


def exclusive_parts(channels: list[tuple[int, ...]]) -> list[tuple[list[int], list[int]]]:
    """What is left of each structure, given by its outputs, without those that lie in it, as the regions of an imported
    model do: the places of those directly within, and its other outputs."""
    sets = [set(own) for own in channels]
    parts = []
    for own in sets:
        within = [place for place, other in enumerate(sets) if other < own]
        direct = [place for place in within if not any(sets[place] < sets[between] for between in within)]
        parts.append((direct, sorted(own.difference(*(sets[place] for place in direct)))))
    return parts


def _added(add: tuple[dict, ...], known: list[str], kept: list[Structure], codes: set[int]) -> list[Structure]:
    """The structures of `add`, which may have no id of `known`, no name by which segments are matched to one of `kept`,
    and get codes that are free."""
    fresh = []
    for number, wish in enumerate(add):
        if wish["id"] in known or wish["id"] in [structure.id for structure in fresh]:
            raise RequestError(f"The structure '{wish['id']}' to add already exists; choose another id.")
        if any(words_of(wish["name"]) in names_of(structure) for structure in (*kept, *fresh)):
            raise RequestError(f"The structure '{wish['name']}' to add already exists; choose another name.")
        code = next((code for code in range(1, 256) if code not in codes), None)
        if code is None:
            raise RequestError("A model can have 255 structures at most; drop some.")
        codes = codes | {code}
        given = wish.get("terminology") or {}
        terminology = {
            "category": given.get("category") or ["SCT", "123037004", "Anatomical Structure"],
            "type": given.get("type") or ["99AFNET", f"USER-{wish['id']}"[:16], wish["name"]],
            "type_modifier": given.get("type_modifier"), "anatomic_region": given.get("anatomic_region"),
            "anatomic_region_modifier": given.get("anatomic_region_modifier"),
            "source": given.get("source") or "Given by the user with the cases",
        }
        color = tuple(wish.get("color") or COLORS[number % len(COLORS)])
        definition = wish.get("definition") or "As drawn in the user's own cases."
        fresh.append(Structure(wish["id"], wish["name"], color, (code,), terminology, wish.get("tg263"), definition))
    return fresh


def _codes_of(rule: int | dict) -> set[int]:
    return {rule["code"], rule["into"]} if isinstance(rule, dict) else {rule}


def _document(base: Manifest, structures: tuple[Structure, ...], codes: list[int], lost: set[int]) -> dict:
    decoding = dict(base.raw["decoding"]) | {"codes": codes}
    for key in ("largest_component", "expected", "absorbed"):
        if key in decoding:
            decoding[key] = [rule for rule in decoding[key] if not _codes_of(rule) & lost]
            if not decoding[key]:
                del decoding[key]
    names = base.code_names
    names |= {structure.labels[0]: structure.name for structure in structures if structure.labels[0] not in names}
    return {
        "decoding": decoding,
        "labelmap": [{"code": code, "name": names[code]} for code in sorted(set(codes) - {0})],
        "structures": [
            {
                "id": structure.id, "name": structure.name, "color": list(structure.color),
                "labels": [label for label in structure.labels if label not in lost],
                "terminology": structure.terminology, "tg263": structure.tg263, "definition": structure.definition,
            }
            for structure in structures
        ],
    }


@torch.no_grad()
def adapt_outputs(network: AutofocusNetwork, labels: LabelSet, seed: int) -> AutofocusNetwork:
    """Return a copy of the base network whose classifier has the outputs of `labels`; all else is bit-identical."""
    plan = replace(network.plan, outputs=len(labels.sources))
    adapted = type(network)(plan)
    state = network.state_dict()
    old_weight, old_bias = state["classifier.weight"], state["classifier.bias"]
    weight = torch.empty(plan.outputs, *old_weight.shape[1:])
    weight.normal_(0.0, NEW_OUTPUT_SPREAD, generator=torch.Generator().manual_seed(seed))
    bias = torch.full((plan.outputs,), old_bias.mean().item() + NEW_OUTPUT_BIAS)
    for channel, source in enumerate(labels.sources):
        if source is not None:
            weight[channel], bias[channel] = old_weight[source], old_bias[source]
    adapted.load_state_dict({**state, "classifier.weight": weight, "classifier.bias": bias})
    return adapted.eval()


def base_probabilities(probabilities: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Bring the base model's probabilities (outputs, z, y, x) to the new outputs; added ones are 0.

    Of exclusive classes, what the base gave to a dropped one goes to the background.
    """
    moved = np.stack([
        np.zeros_like(probabilities[0]) if source is None else probabilities[source] for source in labels.sources
    ])
    if labels.kind == "argmax" and labels.gone:
        moved[0] += probabilities[list(labels.gone)].sum(0)
    return moved
