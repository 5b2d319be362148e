"""Which structures of a model are the left and the right of a pair, by their coded meaning. Needs no torch."""

LEFT, RIGHT = "7771000", "24028007"
"""SNOMED CT codes of the sides, the `type_modifier` of a structure's terminology."""


def side_of(terminology: dict) -> str | None:
    """Return LEFT or RIGHT; None for a structure that is no side of a pair."""
    modifier = terminology.get("type_modifier")
    return modifier[1] if modifier and modifier[1] in (LEFT, RIGHT) else None


def outputs_in_a_mirror(document: dict) -> list[int]:
    """Return for each of the network's outputs, by the model.json `document`, the one that stands for the same where
    left and right are exchanged.

    Raises ValueError where a structure's other side is missing, or one of both has no code of its own.
    """
    sides = {}
    for structure in document["structures"]:
        side = side_of(structure["terminology"])
        if side:
            sides[structure["terminology"]["type"][1], side] = structure
    exchanged = {}
    for (kind, side), structure in sides.items():
        other = sides.get((kind, LEFT if side == RIGHT else RIGHT))
        if other is None or len(structure["labels"]) != 1 or len(other["labels"]) != 1:
            raise ValueError(f"{structure['name']} has no other side with a code of its own")
        exchanged[structure["labels"][0]] = other["labels"][0]
    codes = document["decoding"]["codes"]
    return [codes.index(exchanged[code]) if code in exchanged else place for place, code in enumerate(codes)]
