"""The whole fine-tuning, top to bottom: check, prepare, train, score, write."""

import json
import shutil

import numpy as np
import torch

from ..atomic_file import refusal
from ..errors import (
    AfnetError,
    Cancelled,
    DeviceFailed,
    InputError,
    OutOfMemory,
    RequestError,
    first_sentence,
    is_out_of_memory,
)
from ..inference import Predictor, Resources, infer
from ..json_documents import ComparisonDocument
from ..models.manifest import Manifest, find_model
from ..models.model_bundle import load_network
from ..networks import AutofocusNetwork
from ..process.progress import Progress
from .answers import answer, dice_on_grid, drawn_elsewhere
from .cache import PreparedCase, content_hash, load_prepared, save_prepared, signature, unchanged
from .checking import CheckedCase, check_case, warn_of_likeness
from .conclusion import Conclusion
from .label_set import LabelSet, adapt_outputs, base_probabilities, change_labels
from .loop import Epoch, EpochTraining
from .plan import Run, choose_epochs, plan_runs
from .processes import Processes
from .request import FineTuningRequest
from .run_folder import RunFolder
from .samples import CaseSamples
from .stopping import StopRequests

STAGES = {"check": 0.06, "prepare": 0.06, "train": 0.73, "score": 0.13, "write": 0.02}
"""Stages in order, with the part of a usual run's time that each takes."""


class FineTuning:
    """One fine-tuning in one process of `processes`; process 0 alone speaks and writes."""

    def __init__(self, request: FineTuningRequest, folder: RunFolder, progress: Progress, stops: StopRequests,
                 processes: Processes):
        self.request, self.folder, self.stops, self.processes = request, folder, stops, processes
        self.progress = progress if processes.first else Progress()
        self.progress.plan(STAGES, self.stop_if_asked)
        self.device = processes.device
        self.base = find_model(request.base)
        if self.base.members_sha256 != request.base_sha256:
            raise RequestError("The base model has changed since the training began; start again in another folder.")
        self.labels = change_labels(self.base, request.drop, request.add)
        self.network = load_network(self.base)
        self.runs = plan_runs(request)
        processes.check_batch(request.batch)

    def stop_if_asked(self) -> None:
        if self.stops.stop.is_set():
            begun = self.folder.request_file.exists()
            raise Cancelled("Stopped; Resume (--resume) goes on where it was." if begun else "Stopped.")

    def execute(self, resume: bool) -> ComparisonDocument | None:
        """Do all of it; returns comparison.json (process 0). Raises Cancelled if asked to stop, OutOfMemory."""
        try:
            self.alone(lambda: self.prepare_cases(resume))
            cases = [load_prepared(self.folder.cache(number)) for number in range(len(self.request.cases))]
            self.progress.stage("train")
            trainings: dict[str, EpochTraining] = {}
            for number, run in enumerate(self.runs):
                trainings[run.name] = self.train(run, number, cases, trainings)
            end = Conclusion(self.request, self.folder, self.progress, self.runs, self.base, self.labels, self.network,
                             self.device)
            return self.alone(lambda: end.write(trainings))
        except OSError as error:
            raise refusal(error, "The training's folder") from None
        except (MemoryError, RuntimeError, OutOfMemory) as error:
            on_gpu = self.device.type != "cpu" and not isinstance(error, OutOfMemory)  # that has tried the CPU, too
            then = "go on with Resume (--resume)" if self.folder.request_file.exists() else "start again"
            if not is_out_of_memory(error):
                if not on_gpu:
                    raise
                raise DeviceFailed(
                    f"The {self.device.type} device failed in the training ({first_sentence(str(error))}); choose the "
                    f"device CPU (--device cpu), then {then}."
                ) from None
            where = f"{self.device.type} device" if on_gpu else "computer"
            instead = ", or choose the device CPU (--device cpu)" if on_gpu else ""
            raise OutOfMemory(
                f"The {where} ran out of memory in the training; close other programs{instead}, then {then}."
            ) from None

    def alone(self, action):
        """Let process 0 do something while the others wait; an error there is one everywhere."""
        result = error = None
        if self.processes.first:
            try:
                result = action()
            except AfnetError as problem:
                error = (type(problem).__name__, str(problem))
        error = self.processes.tell(error)
        if error:
            kinds = {kind.__name__: kind for kind in (InputError, RequestError, Cancelled, OutOfMemory, AfnetError)}
            raise kinds.get(error[0], AfnetError)(error[1])
        return result

    def prepare_cases(self, resume: bool) -> None:
        """Check and cache the cases, or find them cached; nothing is written if one cannot be used."""
        self.progress.stage("check")
        if resume and all(self.folder.cache(number).is_file() for number in range(len(self.request.cases))):
            self.reuse_cases()
            return
        checked = check_all(self.request, self.base, self.labels, self.progress)
        refuse_unusable(checked)
        if not resume:
            self.folder.begin(self.request)
        self.progress.stage("prepare")
        self.refuse_full_disk(checked)
        quiet = Progress(interrupt=self.stop_if_asked)
        predictor, resources = Predictor(self.network, self.labels.kind), Resources(self.device, torch.float32)
        for number, case in enumerate(checked):
            computed = infer(predictor, case.prepared.channels, resources, quiet)
            known = [structure.id not in case.unknown for structure in self.labels.structures]
            prepared = PreparedCase(
                case.prepared.channels, case.truth, np.array(known), case.prepared.mask,
                base_probabilities(computed.probabilities, self.labels), signature(case.files),
                json.dumps(case.to_json() | {"fingerprint": case.fingerprint, "content": content_hash(case.files)}),
            )
            save_prepared(self.folder.cache(number), prepared)
            for structure in drawn_elsewhere(prepared, self.labels, self.base.spacing):
                self.progress.note(
                    f"{case.files.name}: {structure} is drawn where the base model finds hardly anything of it, and it "
                    "finds it elsewhere; see that the segmentation lies on its image."
                )
            case.release_arrays()
            self.progress.within((number + 1) / len(checked))

    def reuse_cases(self) -> None:
        for number, files in enumerate(self.request.cases):
            case = load_prepared(self.folder.cache(number))
            if not unchanged(case, files):
                raise InputError(
                    f"The files of {files.name} have changed since the training began; put them back, or start again "
                    "in another folder."
                )
            report = json.loads(case.report)
            facts = {key: value for key, value in report.items() if key not in ("fingerprint", "content")}
            self.progress.event(event="case", **facts)
        self.progress.stage("prepare")

    def refuse_full_disk(self, checked: list[CheckedCase]) -> None:
        """Refuse before the first step what would not fit: caches, checkpoints, the held-out cases' segmentations."""
        values = 2 * (len(self.labels.sources) + len(self.base.channels)) + len(self.labels.structures)
        needed = sum(case.prepared.mask.size * values for case in checked)
        needed += 16 * sum(parameter.numel() for parameter in self.network.parameters()) * 2 * len(self.runs)
        if shutil.disk_usage(self.folder.training).free < needed:
            raise RequestError(
                f"The training needs {needed / 2**20:.0f} MB in the output folder, and the disk has less; free some "
                "space or choose another folder."
            )

    def training_of(self, run: Run, cases: list[PreparedCase]) -> EpochTraining:
        request = self.request
        samples = CaseSamples(
            [cases[number] for number in run.training], self.base, self.labels, request.samples_per_case, request.seed
        )
        return EpochTraining(
            adapt_outputs(self.network.cpu(), self.labels, request.seed), samples, self.folder.run(run.name),
            self.processes, request.tune, request.horizon, request.batch, request.learning_rate, request.seed,
        )

    def train(
        self, run: Run, number: int, cases: list[PreparedCase], before: dict[str, EpochTraining]
    ) -> EpochTraining:
        """Train one run to its end, from its checkpoint if there is one."""
        epochs = self.epochs_of(run, number, cases, before)
        training = self.training_of(run, cases)
        training.resume()
        names = [files.name for files in self.request.cases]
        self.report({
            "event": "run", "run": run.name, "number": number + 1, "of": len(self.runs),
            "training": [names[one] for one in run.training], "held_out": [names[one] for one in run.held_out],
            "epochs": epochs,
        })
        steps = epochs * training.steps_per_epoch  # of the later runs as well, roughly

        def seconds_left() -> float | None:
            if training.pace is None:
                return None
            return training.pace * (max(steps - training.step, 0) + steps * (len(self.runs) - number - 1))

        def report_epoch(epoch: Epoch) -> None:
            left = seconds_left()
            self.report({
                "event": "epoch", "run": run.name, "epoch": epoch.number, "epochs": epochs,
                "loss": None if epoch.number == 0 else epoch.loss, "held_out_dice": epoch.held_out_dice,
                "held_out": epoch.held_out, "seconds_left": None if left is None else round(left, 1),
            })
            if self.processes.first:
                self.folder.tell(run=run.name, epoch=epoch.number, epochs=epochs)

        def report_step() -> None:
            self.progress.within((number + min(training.step / steps, 1.0)) / len(self.runs), seconds_left())

        for epoch in [self.start(run, cases), *training.history]:
            report_epoch(epoch)
        with self.progress.uninterrupted():  # a stop comes between steps, with a checkpoint
            training.train(
                epochs, self.stops.stop.is_set, self.stops.finish.is_set, self.request.patience,
                lambda network: self.measure(network, run, cases), report_step, report_epoch,
            )
        self.stops.finish.clear()
        return training

    def epochs_of(
        self, run: Run, number: int, cases: list[PreparedCase], before: dict[str, EpochTraining]
    ) -> int:
        """Epochs of the `number`-th run: those of its plan, or what the runs `before` it chose."""
        if run.epochs is not None:
            return run.epochs
        return choose_epochs([[self.start(other, cases), *before[other.name].history] for other in self.runs[:number]])

    def measure(self, network: AutofocusNetwork, run: Run, cases: list[PreparedCase]) -> dict[str, dict[str, float]]:
        """Dice of the network on the cases that the run leaves out, as far as the memory suffices."""
        scores = {}
        for one in run.held_out:
            name = self.request.cases[one].name
            try:
                answered = answer(network, cases[one].channels, self.labels)
            except OutOfMemory:  # what was learned is worth more than a point of the chart
                self.progress.note(f"{name} was not measured after an epoch: too little memory was free.")
            else:
                scores[name] = dice_on_grid(answered, cases[one], self.labels)
        return scores

    def start(self, run: Run, cases: list[PreparedCase]) -> Epoch:
        """Epoch 0: the base model on the cases that the run leaves out."""
        names = [files.name for files in self.request.cases]
        return Epoch(0, 0.0, {
            names[one]: dice_on_grid(cases[one].base, cases[one], self.labels) for one in run.held_out
        })

    def report(self, event: dict) -> None:
        if not self.processes.first:
            return
        self.progress.event(**event)
        self.folder.log(event)
        if event["event"] == "run":
            held_out = f", held out: {', '.join(event['held_out'])}" if event["held_out"] else ""
            self.progress.line(f"{event['run']}: {len(event['training'])} cases, {event['epochs']} epochs{held_out}")
        elif event["epoch"]:
            found = "" if event["held_out_dice"] is None else f"  held-out Dice {event['held_out_dice']:.3f}"
            left = "" if event["seconds_left"] is None else f"  {event['seconds_left']:.0f} s left"
            self.progress.line(f"epoch {event['epoch']:3d}  loss {event['loss']:.4f}{found}{left}")


def check_all(
    request: FineTuningRequest, base: Manifest, labels: LabelSet, progress: Progress, to_learn: bool = True
) -> list[CheckedCase]:
    """Check every case, telling each as soon as it is known. What is kept of each is what a training needs, on the
    working grid, and nothing of images and segmentations unless it is `to_learn` from."""
    checked, seen = [], {}
    for number, files in enumerate(request.cases):
        case = check_case(files, base, labels, seen)
        warn_of_likeness(case, checked)
        progress.event(event="case", **case.to_json())
        for row in case.mapping:
            progress.line(f"{files.name}: {row['segment']} -> {row['structure'] or 'not used'} (by {row['by']})")
        for text in [*case.warnings, *case.problems]:
            progress.line(text)
        if to_learn:
            case.release_segmentation()
        else:
            case.release_arrays()
        checked.append(case)
        progress.within((number + 1) / len(request.cases))
    return checked


def refuse_unusable(checked: list[CheckedCase]) -> None:
    """Raise InputError with the first problem if a case cannot be used."""
    bad = [case for case in checked if not case.usable]
    if bad:
        others = f" {len(bad) - 1} more cannot be used either." if len(bad) > 1 else ""
        raise InputError(f"{bad[0].problems[0]}{others}")

