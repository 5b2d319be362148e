"""A segmented study and the attention maps of it, as the engine writes them, for runs that a fake engine ends."""

import json

import numpy as np

ATTRIBUTE = "AutofocusSegmentation.Attention"

GRID_SIZE = (6, 5, 4)
"""Voxels along x, y, z of the maps that `write_maps` makes, on the working grid of the model."""


def segmented(manifest, inputs: dict, codes=None):
    """Segment volume nodes with a fake engine; returns the segmentation node, as the segment panel leaves it."""
    from engine_result import write_result
    from panel_fakes import FakeEngine

    from AutofocusSegmentationLib.segmentation_job import SegmentationJob

    engine = FakeEngine()
    job = SegmentationJob(manifest, inputs, engine=engine)
    job.start()
    write_result(engine, manifest, codes)
    while job.running:
        job.poll()
    assert job.outcome.kind == "done", job.outcome.message
    return job.outcome.result.segmentation


def attention_of(layer: str, rates: int, shape) -> np.ndarray:
    """Maps (K, z, y, x) that sum to 1: later layers look farther, and the patient's left farther than the right."""
    place = np.linspace(0, 1, shape[2])[None, None, None, :] + 0 * np.zeros((1, *shape))
    wide = np.clip(0.25 * (int(layer.removeprefix("layer")) - 5) * place, 0, 1)
    maps = np.zeros((rates, *shape), np.float32)
    maps[0], maps[-1] = (1 - wide)[0], wide[0]
    return maps


def write_maps(engine, manifest, grid=None, patient=None, **changes) -> dict:
    """Write what was asked of a FakeEngine into its folder and end it well; returns the report."""
    from afnet.attention import AttentionMaps
    from afnet.attention_request import AttentionRequest, rates
    from afnet.preprocessing.grid import WorkingGrid
    from afnet.tensors import to_torch

    request = engine.request
    assert request.arguments()[0] == "attend" and request.output is None
    grid = grid or WorkingGrid((-5, -4, 0), GRID_SIZE, manifest.spacing)
    shape = tuple(reversed(grid.size))
    wanted = AttentionRequest(tuple(request.attention_layers), request.attention_kind)
    collector = AttentionMaps(wanted, rates(manifest), grid, np.ones(shape, bool) if patient is None else patient)
    for layer in wanted.layers:
        collector(layer, 0, to_torch(attention_of(layer, len(rates(manifest)), shape)))
    report = {
        "protocol": 1, "model": {"id": manifest.id, "version": manifest.version,
                                 "weights_sha256": manifest.weights_sha256},
        "attention": collector.write(engine.folder / request.attention), **changes,
    }
    (engine.folder / "report.json").write_text(json.dumps(report), encoding="ascii")
    engine.succeed()
    return report


def compute(attention, button, **options):
    """Press a button that starts a run, and let the engine do what it was asked."""
    from clicks import click, spin

    click(button)
    assert attention.panel.running, attention.ui.attentionMessageLabel.text
    engine = attention.engines[-1]
    report = write_maps(engine, attention.manifest, **options)
    spin(lambda: not attention.panel.running)
    assert not engine.folder.exists()
    return report


def maps(attention) -> dict:
    from AutofocusSegmentationLib.attention.maps import maps_of

    return maps_of(attention.segmentation)


def foregrounds(attention) -> list:
    return [(view.GetForegroundVolumeID(), round(view.GetForegroundOpacity(), 3), bool(view.GetLinkedControl()))
            for view in attention.views]


def made_nodes(scene) -> list:
    return [node for node in (scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())) if
            node.GetAttribute(ATTRIBUTE)]
