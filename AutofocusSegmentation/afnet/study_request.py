"""What `segment` and `attend` are asked."""

from dataclasses import dataclass, field
from pathlib import Path

from .attention_request import AttentionRequest


@dataclass(frozen=True)
class StudyRequest:
    """One study to segment, or without `output` only to ask for attention maps (see attending.py).

    `inputs` maps the model's input names to files or DICOM folders. `attention_folder` gets the attention maps that
    `attention_request` asks for; None for none.
    """

    model: str
    inputs: dict[str, str]
    output: Path | None
    labelmap: Path | None = None
    attention_folder: Path | None = None
    report: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    memory: str | None = None
    model_folders: list[Path] = field(default_factory=list)
    attention_request: AttentionRequest = AttentionRequest()
