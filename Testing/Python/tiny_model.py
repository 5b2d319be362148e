"""Small models for tests: real bundles with few, random or hand-set weights."""

import json
from pathlib import Path

import torch

from afnet.models.manifest import Manifest, find_model, read_manifest
from afnet.models.model_bundle import plan_of, save_bundle
from afnet.networks import build_network

COARSE = {"spacing_mm": 4.0, "margin_mm": 8.0}
"""A working grid on which a phantom takes a fraction of a second."""


def tiny_document(model: str, **changes) -> dict:
    """The bundled model's document with the narrowest network and no structure that must be found."""
    document = json.loads(json.dumps(find_model(model).raw))
    document |= {"id": f"tiny-{model}", "title": f"Tiny {model}"}
    document["network"] |= {"name": "AFN-2", "widths": [4] * 8}
    document["decoding"] |= {"minimum_ml": 0.0}
    document["decoding"].pop("expected", None)
    document["decoding"].pop("largest_component", None)
    document["decoding"].pop("smallest_part", None)
    document.pop("companion", None)
    document.pop("correlations", None)  # a phantom's contrasts correlate as no brain's do
    if "labelmap" in changes:
        document.pop("plausibility", None)  # its limits are those of the bundled structures
    return document | changes


def tiny_bundle(folder: Path, model: str = "pelvis-ct", seed: int = 0, **changes) -> Manifest:
    """Write a model with random weights to `folder` and return its manifest."""
    document = tiny_document(model, **changes) | {"weights_sha256": "0" * 64}
    document.pop("plausibility", None)  # random weights find nothing plausible
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(document), encoding="utf-8")
    torch.manual_seed(seed)
    network = build_network(plan_of(read_manifest(folder)))
    with torch.no_grad():  # spread the classes, so that a random network finds several of them
        for classifier in [module for module in network.classifier.modules() if isinstance(module, torch.nn.Conv3d)]:
            classifier.weight.normal_(0, 1)
            classifier.bias.zero_()
    return save_bundle(folder, document, network)
