"""One measurement of the benchmark, made in a process of its own: seconds, peak memory, and what to say about it."""

import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..devices import PRECISIONS, peak_memory_mb
from ..inference import Predictor, Resources, infer
from ..models.manifest import find_model
from ..models.model_bundle import plan_of
from ..models.model_store import write_model
from ..networks import AutofocusNetwork, NetworkPlan
from ..process.progress import Progress
from ..streaming import Streaming
from ..study_request import StudyRequest
from ..tensors import to_torch
from ..tiling import Tiling
from .rivals import MIRRORINGS, MONAI_WINDOW, NNUNET_PATCH, TimedCalls, in_patches, nnunet, with_monai
from .studies import STUDIES, Study


@dataclass(frozen=True)
class Setting:
    """What is measured: `shape` overrides the study's, `windows` are computed of all that a rival has (None: all)."""

    measure: str
    study: str = "brain"
    scale: float = 1.0
    shape: tuple[int, int, int] | None = None
    network: str = "AFN-6"
    precision: str = "float32"
    device: str = "cpu"
    memory: int | None = None
    windows: int | None = 3

    def to_json(self) -> dict:
        return asdict(self)

    @property
    def scaled_study(self) -> Study:
        return STUDIES[self.study].scaled(self.scale) if self.scale != 1 else STUDIES[self.study]


def measure(setting: Setting) -> dict:
    """Return {seconds, peak_memory_mb, …}. Raises Missing for a comparison whose package is not there."""
    result = MEASURES[setting.measure](setting, setting.scaled_study)
    if setting.device == "cuda":
        result["gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    return result | {"peak_memory_mb": peak_memory_mb()}


def _engine(setting: Setting, study: Study) -> dict:
    return _timed_engine(_released(setting, study), setting, study)


def _bundled_network(setting: Setting, study: Study) -> dict:
    """The bundled model's network on the same volume. Its weights do not count for the time."""
    plan = plan_of(find_model(study.model))
    result = _timed_engine(AutofocusNetwork(plan).eval(), setting, study)
    return result | {"network": plan.name, "widths": list(plan.widths)}


def _timed_engine(network: AutofocusNetwork, setting: Setting, study: Study) -> dict:
    predictor = Predictor(network, "argmax")
    resources = Resources(torch.device(setting.device), PRECISIONS[setting.precision], setting.memory)
    progress = Progress()
    progress.stage("network")
    # Threads, and on a GPU its libraries, start with the first call.
    infer(predictor, study.tensor((8, 8, 8)), replace(resources, memory=None), progress)
    channels = study.tensor(setting.shape)
    begin = time.perf_counter()
    computed = infer(predictor, channels, resources, progress)
    seconds = time.perf_counter() - begin
    work = _multiplications(network) * channels[0].size
    return {
        "seconds": seconds, "voxels": int(channels[0].size), "gflops": 2e-9 * work / seconds,
        "device": computed.device, "precision": computed.precision, "notes": progress.notes,
    }


def _multiplications(network: AutofocusNetwork) -> float:
    """Multiplications per voxel, as the streamed pass counts them, channels of padding left out."""
    streaming = Streaming(network, dtype=torch.float32)
    streaming.run(torch.zeros(network.plan.inputs, 1, 1, 1))
    return streaming.total


def _authors(setting: Setting, study: Study) -> dict:
    """The authors' scheme: 75³ voxels in, 47³ out, float32, a separate convolution for every rate."""
    tiling = Tiling(_released(setting, study))
    calls = tiling.network = TimedCalls(tiling.network, setting.windows)
    return _passed(calls, lambda: tiling.run(_channels(setting, study))) | {"precision": "float32"}


def _monai(setting: Setting, study: Study) -> dict:
    calls = TimedCalls(_released(setting, study).to(setting.device), setting.windows)
    result = _passed(calls, lambda: with_monai(calls, _channels(setting, study)))
    return result | {"precision": "float32", "window": MONAI_WINDOW}


def _nnunet(setting: Setting, study: Study) -> dict:
    network = nnunet(study.channels, study.outputs).to(setting.device)
    dtype = PRECISIONS[setting.precision]
    calls = TimedCalls(network, setting.windows)

    def run():
        with torch.autocast(torch.device(setting.device).type, dtype, enabled=dtype != torch.float32):
            return in_patches(calls, _channels(setting, study))

    result = _passed(calls, run)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return result | {"precision": setting.precision, "window": NNUNET_PATCH, "weights": parameters,
                     "mirrored_seconds": MIRRORINGS * result["seconds"]}


def _passed(calls: TimedCalls, run) -> dict:
    with torch.inference_mode():
        begin = time.perf_counter()
        run().cpu()
        elapsed = time.perf_counter() - begin
    return {"seconds": calls.whole(elapsed), "windows": calls.calls, "timed": len(calls.times),
            "precision": "float32"}


def _end_to_end(setting: Setting, study: Study) -> dict:
    """`segment` with the bundled model, from files to files, on the model's own grid."""
    from ..segmentation import segment  # with SimpleITK, 100 MB, which the network alone does not need

    with tempfile.TemporaryDirectory() as folder:
        files = study.write_images(Path(folder))
        model = _undemanding(study.model, Path(folder) / "model")
        begin = time.perf_counter()
        report = segment(
            StudyRequest(str(model), files, Path(folder) / "s.seg.nrrd", device=setting.device,
                         precision=setting.precision, memory=setting.memory),
            Progress(),
        )
        seconds = time.perf_counter() - begin
    return {
        "seconds": seconds, "stages": report["seconds"], "grid": report["working_grid"], "device": report["device"],
        "precision": report["precision"],
    }


def _undemanding(model: str, folder: Path) -> Path:
    """A copy of a bundled model that does not refuse the made-up images, in which it finds nothing it knows."""
    manifest = find_model(model)
    folder.mkdir()
    decoding = {key: rule for key, rule in manifest.raw["decoding"].items() if key != "expected"}
    write_model(folder, manifest, manifest.raw | {"decoding": decoding})
    return folder


def _matrix_rate(setting: Setting, study: Study) -> dict:
    """Billion operations a second that the device's own product of two square matrices reaches."""
    side = 8192 if setting.device == "cuda" else 2048
    device, dtype = torch.device(setting.device), PRECISIONS[setting.precision]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        (a @ b)[0, 0].item()
        times.append(time.perf_counter() - begin)
    return {"seconds": min(times), "gflops": 2e-9 * side**3 / min(times), "precision": setting.precision}


def _released(setting: Setting, study: Study) -> AutofocusNetwork:
    torch.manual_seed(0)
    return AutofocusNetwork(NetworkPlan(setting.network, study.channels, study.outputs, flavour="released")).eval()


def _channels(setting: Setting, study: Study) -> torch.Tensor:
    return to_torch(np.ascontiguousarray(study.tensor(setting.shape))).to(setting.device)


MEASURES = {
    "engine": _engine, "authors": _authors, "monai": _monai, "nnunet": _nnunet, "bundled": _bundled_network,
    "end-to-end": _end_to_end, "matrix": _matrix_rate,
}
