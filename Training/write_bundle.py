"""Write trained weights as a model folder: the bundled manifest, with new weights, hash, version and scores.

    python Training/write_bundle.py --model brain-tumour-mri --weights Training/runs/brain/averaged.pt --to FOLDER
           [--spacing 4] [--scores scores.json --how "…" --summary "…"] [--version 0.1.0]
           [--classifier-bias -0.405 0 0] [--smallest-part 0.5] [--companion FOLDER [--share 0.6] [--mirrored]]

The network is the one of the run's plan.json, which lies beside the weights. Without `--scores` the scores stay as
they are (for a candidate that is scored next).
"""

import argparse
import json
from pathlib import Path

import repository

import torch

from afnet.models.manifest import find_model, read_manifest
from afnet.models.model_bundle import load_network, save_bundle
from afnet.networks import AutofocusNetwork, NetworkPlan, count_parameters


def trained_network(weights: Path) -> AutofocusNetwork:
    """The network of the plan.json beside `weights` (.pt), with them."""
    network = AutofocusNetwork(NetworkPlan(**json.loads((weights.parent / "plan.json").read_text())))
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--spacing", type=float, help="mm of the working grid, where it is a new one")
    parser.add_argument("--scores", type=Path, help="what score.py wrote")
    parser.add_argument("--how", help="how the scores were measured, in plain words")
    parser.add_argument("--summary", help="one line for the list of models")
    parser.add_argument("--version")
    parser.add_argument("--classifier-bias", type=float, nargs="+", default=[],
                        help="added to each output: patches around tumours show more of them than whole brains do")
    parser.add_argument("--smallest-part", type=float, help="of the largest island that an island must have to stay")
    parser.add_argument("--companion", type=Path, help="folder of a model on another grid, whose output is averaged in")
    parser.add_argument("--mirrored", action="store_true", help="with --companion: it sees each study in a mirror too")
    parser.add_argument("--share", type=float, default=0.5, help="the companion's part of the mean of both outputs")
    options = parser.parse_args()

    manifest = find_model(options.model)
    document = dict(manifest.raw)
    if options.version:
        document["version"] = options.version
    if options.scores:
        structures = json.loads(options.scores.read_text())["summary"]
        document["scores"] = {"how": options.how, "summary": options.summary, "structures": structures}
    network = trained_network(options.weights)
    document["network"] = {key: getattr(network.plan, key) for key in ("name", "widths", "rates", "flavour")}
    if options.spacing:
        document["grid"] = document["grid"] | {"spacing_mm": options.spacing}
    if options.classifier_bias:
        network.classifier.bias.data += torch.tensor(options.classifier_bias)
    if options.smallest_part is not None:
        document["decoding"] = document["decoding"] | {"smallest_part": options.smallest_part}
    companion = read_manifest(options.companion) if options.companion else None
    written = save_bundle(options.to, document, network, companion, options.share, options.mirrored)
    for member in written.members:
        load_network(member)
    size = sum(member.weights_file.stat().st_size for member in written.members)
    print(f"{written.folder}: {count_parameters(network)} parameters, {size / 1000:.0f} kB, {written.weights_sha256}")


if __name__ == "__main__":
    main()
