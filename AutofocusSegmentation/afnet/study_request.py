"""What `segment` and `attend` are asked, and whether a study has the inputs that a model needs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .attention_request import AttentionRequest
from .models.manifest import Manifest


@dataclass(frozen=True)
class StudyRequest:
    """One study to segment, or without `output` only to ask for attention maps (see attending.py).

    `inputs` maps the model's input names to files or DICOM folders. `attention_folder` gets the attention maps that
    `attention_request` asks for; None for none. `memory`: bytes for the network; None for a part of what is free.
    """

    model: str
    inputs: dict[str, str]
    output: Path | None
    labelmap: Path | None = None
    attention_folder: Path | None = None
    report: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    memory: int | None = None
    model_folders: list[Path] = field(default_factory=list)
    attention_request: AttentionRequest = AttentionRequest()


def input_problems(inputs: Mapping[str, str], manifest: Manifest, written: str = "input '{}'") -> list[str]:
    """Say in a sentence each what is wrong with a study's files by input name; nothing if all is there. `written`: how
    the user names an input."""
    known = [item.name for item in manifest.inputs]
    problems = [
        f"The model {manifest.id} has no input '{name}'; its inputs are: {', '.join(known)}."
        for name in inputs if name not in known
    ]
    missing = [f"{item.title} ({written.format(item.name)})" for item in manifest.inputs if item.name not in inputs]
    if missing:
        problems.append(f"The model {manifest.id} also needs {', '.join(missing)}; add what is missing.")
    if len({os.path.realpath(file) for file in inputs.values()}) < len(inputs):
        problems.append("The same file is given for two inputs; give each input its own image.")
    return problems
