"""A run that makes attention maps of a study that was segmented before; the segmentation stays as it is."""

from pathlib import Path

from slicer.i18n import tr as _

from afnet.attention_request import LIMIT_BYTES, AttentionRequest
from afnet.models.manifest import Manifest

from ..engine.request import SegmentRequest
from ..results.result_files import ResultError
from ..segmentation_job import SegmentationJob
from ..segments import study_record
from .maps import MAPS_FOLDER, load_maps


class AttentionJob(SegmentationJob):
    """Computes the network of `manifest` again on the images that `segmentation` was made of.

    wanted: layers and kind of maps. Otherwise as SegmentationJob; `outcome.result` is the list of volume nodes.
    It does not start if an image has changed since it was segmented.
    """

    def __init__(self, manifest: Manifest, segmentation, wanted: AttentionRequest, **options) -> None:
        self._segmentation = segmentation
        self._wanted = wanted
        super().__init__(manifest, study_record.inputs_of(segmentation, manifest), **options)

    def _problem(self) -> str:
        return study_record.changed(self._segmentation, self.manifest) or super()._problem()

    def _request(self, files: dict[str, str]) -> SegmentRequest:
        return SegmentRequest(
            model=self.manifest.folder, inputs=files, device=self._device, output=None, attention=MAPS_FOLDER,
            attention_layers=self._wanted.layers, attention_kind=self._wanted.kind, memory=self._memory,
            precision=self._precision,
        )

    def _needed_bytes(self) -> int:
        return super()._needed_bytes() + LIMIT_BYTES

    def _load_result(self, folder: Path) -> object:
        if self._segmentation.GetScene() is None:
            raise ResultError(_("The maps were discarded because their segmentation was removed meanwhile."))
        return load_maps(self.manifest, folder, self._segmentation, self.reference)

    def _cancelled_text(self) -> str:
        return _("The computation of attention maps was cancelled.")
