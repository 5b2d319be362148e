"""Which input an image is by its name: the name patterns of a model.json, for the panel, fine-tuning and the demo.

Needs no torch.
"""

import re

_REGISTERED_TO = re.compile(
    r"((?:t[12]|flair|mp-?rage|spgr|bravo|dark|fluid).*(?<![a-z])(?:reg[a-z]*|to|in))[\s_-]*(?:to[\s_-]*)?"
    r"(?:t[12]|flair)[^\W_]*(?:[\s_-]*(?:post|pre|gd|gad|ce|\+?c|km)(?![a-z]))?|"
    r"_space-(?:t[12]|flair)[^\W_]*(?=_.*(?:t[12]|flair))",
    re.IGNORECASE,
)
"""The image that another was registered to, after that: 'T1_to_T1c' is a T1. BIDS names it before: 'space-T1c_T1w'.
Neither 'reg_T1', a registered T1, nor the sequence SPACE is meant."""


def first_match(patterns: tuple[str, ...], text: str) -> int | None:
    """Return the number of the first pattern that fits a text, but for what it was registered to; None: none does."""
    text = _REGISTERED_TO.sub(r"\1", text)
    return next((rank for rank, pattern in enumerate(patterns) if re.search(pattern, text, re.IGNORECASE)), None)
