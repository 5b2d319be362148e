"""A study on its way to the engine: each input of the model as a file.

A study is read in the reference volume's local frame: the reference goes out without its parent transform, every
other volume as it lies relative to it. The result then fits under the reference's transform. No node is changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from afnet.images.geometry import perpendicular
from afnet.models.manifest import Manifest

from ..engine.job_folder import WHERE_TO_CHOOSE
from ..scene.sequences import Frame, current_frame
from ..scene.transforms import ijk_to_local
from .volume_export import ExportError, in_frame_of, private_copy, resampled_copy, write_nrrd


class StudyError(Exception):
    """The volumes cannot be segmented; the text is one sentence that says why and what to do."""


@dataclass(frozen=True)
class ExportedStudy:
    """What `export_study` wrote. files: input name to file name in the folder; notes: sentences for the user."""

    files: dict[str, str]
    notes: list[str]


def export_study(
    manifest: Manifest, inputs: Mapping[str, object], folder: Path, frames: Mapping[str, Frame] | None = None
) -> ExportedStudy:
    """Write each input as <name>.nrrd into `folder`, in the local frame of the reference.

    frames: input name to the frame that is meant, of inputs that show a sequence; by default the one that they show.
    Files are uncompressed and in the volume's own voxel type. Positions in them are LPS, as NRRD has it. The caller has
    seen to it that `input_problems` finds nothing. Raises StudyError if a file cannot be written.
    """
    reference = inputs[manifest.reference]
    files, notes = {}, []
    for item in manifest.inputs:
        node = inputs[item.name]
        frame = (frames or {}).get(item.name) or current_frame(node)
        voxels = frame.image if frame else None
        if frame:
            notes.append(_("{title}: {frame} of a sequence was used.").format(title=item.title, frame=frame.text))
        copy = private_copy(node, voxels=voxels) if node is reference else in_frame_of(node, reference, voxels)
        if copy is None or not perpendicular(ijk_to_local(copy)[:3, :3]):
            copy = resampled_copy(node, reference, voxels)
            notes.append(
                _("{title} was resampled, because its transform deforms or shears it.").format(title=item.title)
            )
        try:
            write_nrrd(copy, Path(folder) / f"{item.name}.nrrd")
        except ExportError:
            raise StudyError(
                _("{title} could not be written to Slicer's temporary folder: free some disk space or choose another "
                  "folder in {place}.").format(title=item.title, place=WHERE_TO_CHOOSE)
            ) from None
        files[item.name] = f"{item.name}.nrrd"
    return ExportedStudy(files, notes)
