"""Results as the engine leaves them in a job folder, made by its own writer, and what the tests ask of the scene."""

import json

import numpy as np
import SimpleITK as sitk

from afnet.output.writing import write_segmentation
from harness.scene_makers import make_volume, oblique

SIZE = (30, 26, 22)
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
LEFT_HANDED = oblique() @ np.diag([1.0, 1.0, -1.0, 1.0])


def reference_volume(matrix=None, name="CT of the pelvis"):
    rng = np.random.default_rng(3)
    array = rng.integers(-1000, 1000, SIZE[::-1]).astype(np.int16)
    return make_volume(array, name, oblique() if matrix is None else matrix)


def labels(manifest, seed=0):
    """A label map [k, j, i]: a box for each code, the last reaching the edge of the image."""
    array = np.zeros(SIZE[::-1], np.uint8)
    for number, item in enumerate(manifest.raw["labelmap"]):
        first = 2 + 3 * number + seed
        array[first : first + 4, 3 + number : 9 + number, 4 + seed : 12 + 2 * number] = item["code"]
    array[5:8, 5:8, 25:] = manifest.raw["labelmap"][-1]["code"]
    return array


def job(folder, manifest, reference, array, left_out=(), **changes):
    """Write a result as the engine does, for the exported reference; returns the report.

    left_out: ids of structures left out as doubtful.
    """
    from AutofocusSegmentationLib.scene.transforms import ijk_to_local

    matrix = FLIP @ ijk_to_local(reference)
    image = sitk.GetImageFromArray(array)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    structures = []
    for structure in manifest.structures:
        mask = np.isin(array, structure.labels)
        edge = mask.copy()
        edge[1:-1, 1:-1, 1:-1] = False
        structures.append({
            "id": structure.id, "name": structure.name, "voxels": int(mask.sum()),
            "volume_ml": float(mask.sum() * spacing.prod() / 1000), "touches_edge": bool(edge.any()),
            "left_out": structure.id in left_out,
        })
    report = {
        "protocol": 1, "geometry": [], "notes": [], "structures": structures,
        "model": {"id": manifest.id, "version": manifest.version, "weights_sha256": manifest.weights_sha256},
        **changes,
    }
    folder.mkdir(exist_ok=True)
    write_segmentation(folder / "segmentation.seg.nrrd", image, manifest, report)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return report


def load(manifest, folder, reference, output=None, **options):
    from AutofocusSegmentationLib.results.result import load_result

    return load_result(manifest, folder, reference, output, **options)


def mask_of(segmentation, segment_id, reference):
    """The segment on the reference's grid, through Slicer's own export."""
    import slicer

    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, reference) != 0


def segment_ids(segmentation):
    return list(segmentation.GetSegmentation().GetSegmentIDs())


def tag(segmentation, segment_id, name):
    import vtk

    value = vtk.reference("")
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    return str(value) if segment.GetTag(name, value) else None


def scene_state():
    """All nodes with id, name, MTime; what must not change when loading fails."""
    import slicer

    nodes = [slicer.mrmlScene.GetNthNode(i) for i in range(slicer.mrmlScene.GetNumberOfNodes())]
    return [(node.GetID(), node.GetName(), node.GetMTime()) for node in nodes]


def edit(segmentation, segment_id, reference):
    import slicer

    mask = mask_of(segmentation, segment_id, reference)
    mask[10, 10, 10:20] ^= True
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), segmentation, segment_id, reference)
