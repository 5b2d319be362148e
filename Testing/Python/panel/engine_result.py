"""Result files as the engine writes them, for runs that a fake engine ends."""

import json

import numpy as np
import SimpleITK as sitk


def write_result(engine, manifest, codes=None, edges=(), array=None, left_out=(), notes=()) -> dict:
    """Write segmentation and report into the folder of a FakeEngine's run and end it well; returns the report.

    codes: label-map code -> index box ((k, k), (j, j), (i, i)) to fill on the reference's grid; by default a box of
    2 x 2 x 2 voxels a code, side by side. edges: ids of structures that the report says are cut off.
    left_out: of those that it says were left out as doubtful. notes: the report's.
    array: a whole label map [k, j, i] instead of boxes.
    """
    from afnet.output.writing import write_segmentation

    reference = sitk.ReadImage(str(engine.folder / engine.request.inputs[manifest.reference]))
    labels = np.zeros(sitk.GetArrayViewFromImage(reference).shape, np.uint8)
    if array is not None:
        labels[:], codes = array, {}
    elif codes is None:
        numbers = [item["code"] for item in manifest.raw["labelmap"]]
        codes = {code: ((4, 6), (4, 6), (2 * n, 2 * n + 2)) for n, code in enumerate(numbers)}
    for code, box in codes.items():
        labels[tuple(slice(*ends) for ends in box)] = code
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(reference)
    voxel_ml = float(np.prod(reference.GetSpacing())) / 1000
    structures = []
    for structure in manifest.structures:
        voxels = int(np.isin(labels, structure.labels).sum())
        structures.append({
            "id": structure.id, "name": structure.name, "voxels": voxels, "volume_ml": voxels * voxel_ml,
            "touches_edge": structure.id in edges, "left_out": structure.id in left_out,
        })
    report = {
        "protocol": 1,
        "model": {"id": manifest.id, "version": manifest.version, "weights_sha256": manifest.weights_sha256,
                  "title": manifest.title},
        "device": "cpu", "precision": "float32", "seconds": {"total": 1.0}, "peak_memory_mb": 100,
        "geometry": [], "notes": list(notes), "structures": structures, "inputs": {},
    }
    write_segmentation(engine.folder / engine.request.output, image, manifest, report)
    (engine.folder / "report.json").write_text(json.dumps(report), encoding="ascii")
    engine.succeed()
    return report
