"""What the engine can be asked, as its command line. Pure Python: no slicer, qt, vtk."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

SEGMENTATION_FILE, REPORT_FILE = "segmentation.seg.nrrd", "report.json"
"""What a segmentation leaves in the job folder."""


class EngineRequest(Protocol):
    """What the engine is asked: one of its commands."""

    @property
    def cancel_grace_s(self) -> float:
        """How long the command may take to end by itself after a cancel before its process tree is killed."""

    def arguments(self) -> list[str]:
        """Return the command line after `afnet`."""

    def outputs(self) -> list[str]:
        """Return the files, relative to the engine's folder, that must exist after success."""


@dataclass(frozen=True)
class SegmentRequest(EngineRequest):
    """Segment a study or make its attention maps; names of files are ASCII and relative to the job folder."""

    model: str | os.PathLike
    """Id of a model, or the folder of one."""
    inputs: Mapping[str, str]
    """Input name ('ct'; 't1', 't1c', 't2', 'flair') to file."""
    output: str | None = SEGMENTATION_FILE
    """None asks for attention maps alone (`afnet attend`)."""
    device: str = "auto"
    """auto, cuda, mps or cpu."""
    attention: str | None = None
    """Folder for attention maps."""
    attention_layers: Sequence[str] = ()
    """Layers whose maps are wanted; none for all."""
    attention_kind: str | None = None
    """focus, maps or both."""
    memory: str | None = None
    """Limit for the network's activations, for example '2GB'."""
    precision: str | None = None
    """float32 or bfloat16; None leaves it to the engine."""

    cancel_grace_s = 1.0

    def arguments(self) -> list[str]:
        """Return the command line after `afnet`."""
        arguments = ["segment" if self.output else "attend", "--model", os.fspath(self.model)]
        for name, file in self.inputs.items():
            arguments += ["--input", f"{name}={file}"]
        options = {
            "--output": self.output,
            "--report": REPORT_FILE,
            "--device": self.device,
            "--attention": self.attention,
            "--attention-layers": ",".join(self.attention_layers) or None,
            "--attention-kind": self.attention_kind,
            "--memory": self.memory,
            "--precision": self.precision,
        }
        for option, value in options.items():
            if value is not None:
                arguments += [option, os.fspath(value)]
        # The folder is the working directory, so that no argument holds a path of the user's.
        return [*arguments, "--progress", "json", "--parent-pipe", "--job-folder", "."]

    def outputs(self) -> list[str]:
        """Return the files that must exist after success."""
        return [name for name in (self.output, REPORT_FILE, self.attention) if name]
