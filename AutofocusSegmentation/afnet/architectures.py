"""The networks of the paper by name, and what the name fixes: autofocus layers and numbers of widths.

No torch: a model's description is checked by it, and the Slicer side asks which layers have attention maps.
"""

HIDDEN_LAYERS = 8
"""Hidden layers of every network: two plain ones, then three residual blocks of two. Dm has them twice."""

AUTOFOCUS_LAYERS = {"Basic": 0, **{f"AFN-{n}": n for n in range(1, 7)}, "ASPP-c": 0, "ASPP-s": 0, "Dm": 0}
"""How many hidden layers are autofocus layers: the last ones."""

NETWORKS = tuple(AUTOFOCUS_LAYERS)

EXTRA_WIDTHS = {"ASPP-c": (30,), "ASPP-s": (120,), "Dm": (150, 150)}
"""The paper's channels of what follows the hidden layers: of each ASPP branch; of DeepMedic's two 1×1×1 layers."""


def autofocus_layer_names(network: str) -> tuple[str, ...]:
    """Return 'layer6', 'layer7' … in the order of the network, numbered 1…8 as in the paper; none for one without."""
    first = HIDDEN_LAYERS - AUTOFOCUS_LAYERS[network] + 1
    return tuple(f"layer{number}" for number in range(first, HIDDEN_LAYERS + 1))


def widths_fit(network: str, count: int) -> bool:
    """Whether a network can have so many widths: those of its hidden layers, or also of what follows them."""
    return count in (HIDDEN_LAYERS, HIDDEN_LAYERS + len(EXTRA_WIDTHS.get(network, ())))
