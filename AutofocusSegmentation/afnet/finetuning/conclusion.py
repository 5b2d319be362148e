"""The end of a fine-tuning: both models scored, the new model written with what is known of it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from .. import __version__
from ..atomic_file import rename, write_json
from ..errors import AfnetError, InputError
from ..json_documents import ComparedCase, ComparisonDocument, OriginalCase, TuningSettings
from ..models.manifest import Manifest
from ..models.model_bundle import load_network, save_bundle
from ..models.model_store import publish
from ..models.training_folder import ALONE, COMPARISON, NEW, TRAINING, scored_file
from ..networks import AutofocusNetwork
from ..process.progress import Progress
from .answers import answer, decide
from .cache import load_prepared, unchanged
from .card import learned_by, new_document
from .checking import check_case
from .comparison import BY_CROSS_VALIDATION, better_alone, compare, score_case
from .label_set import LabelSet, base_probabilities
from .loop import EpochTraining
from .norm_statistics import Settled, settle
from .original_case import compare_original, original_case
from .plan import Run
from .request import FineTuningRequest
from .run_folder import RunFolder

LEFT_OUT = ("The base model's second network is not used, because these cases score better without it; as they decided "
            "that, their Dice is a little too good.")
BY_HAND = ("The training was ended by hand (at pass {passes}) while the test cases' Dice was shown, so that may be a "
           "little too good.")
BASE_UNKNOWN = "The base model was fine-tuned itself and does not say on which cases: these may be among them."
"""For the advice."""


def kept_companion(base: Manifest, document: dict) -> Manifest | None:
    """The base's companion, which is not tuned; None where the outputs of `document` are others than the base's."""
    return base.companion if document["decoding"] == base.raw["decoding"] else None


@dataclass
class Conclusion:
    """What follows the trainings `runs` of a fine-tuning, in process 0; `network`: the base model's."""

    request: FineTuningRequest
    folder: RunFolder
    progress: Progress
    runs: list[Run]
    base: Manifest
    labels: LabelSet
    network: AutofocusNetwork
    device: torch.device

    def __post_init__(self):
        self.companion = kept_companion(self.base, self.labels.document)
        self.base_learned = learned_by(self.base)
        self.familiar = 0  # test cases that the base model had learned from
        self.may_leave_companion = False  # a model that no epoch helped stays what the base is

    def write(self, trainings: dict[str, EpochTraining]) -> ComparisonDocument:
        """Score, write the new model as a candidate and, unless only that was asked, as the folder's model."""
        self.progress.stage("score")
        final = trainings["final"]
        self.learned = [json.loads(case.report).get("fingerprint", "") for case in final.samples.cases]
        settled = self.settle(final)
        settings = self.settings(final)
        self.may_leave_companion = self.companion is not None and bool(final.history)
        scored = [run for run in self.runs if run.scored]
        numbers = [number for run in scored for number in run.held_out]
        cases = []
        for run in scored:
            own = settled if run.name == "final" else self.settle(trainings[run.name])
            models = self.candidates(own.network, run)
            for number in run.held_out:
                cases.append(self.score(models, number))
                self.progress.within(len(cases) / (len(numbers) + 1))
        rows, remarks = self.choose_companion(cases, numbers)
        by_hand = [trainings[run.name] for run in scored if trainings[run.name].ended_by == "user stop"]
        if by_hand:
            passes = sorted({len(training.history) for training in by_hand})
            remarks.append(BY_HAND.format(passes=", ".join(map(str, passes))))
        if numbers and self.base_learned is None:
            remarks.append(BASE_UNKNOWN)
        how = "leave-one-out" if self.request.leave_one_out else "held-out" if numbers else "none"
        original = self.original(settled.network)
        comparison = compare(rows, original, how, len(final.history), settings, settled.to_json(), remarks,
                             None if self.base_learned is None else self.familiar)

        self.progress.stage("write")
        partial = self.folder.training / "candidate-partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(self.folder.candidate, ignore_errors=True)
        load_network(self.bundle(partial, settled.network, comparison, self.companion))
        rename(partial, self.folder.candidate)
        write_json(self.folder.comparison_file, comparison)
        if not self.request.candidate_only:
            publish(self.folder.output)
        self.progress.event(event="comparison", file=f"{TRAINING}/{COMPARISON}")
        self.progress.within(1.0)
        return comparison

    def settle(self, training: EpochTraining) -> Settled:
        """The training's averaged network; a training that took no step leaves the base's statistics alone too."""
        reestimate = self.request.statistics == "auto" and bool(training.history)
        cases = training.samples.cases
        return settle(training.average, cases, self.labels, reestimate, self.progress.interrupt)

    def bundle(
        self, folder: Path, network: AutofocusNetwork, comparison: ComparisonDocument, companion: Manifest | None
    ) -> Manifest:
        document = new_document(self.base, self.labels, self.request, comparison, self.learned)
        share, mirrored = self.base.companion_share, self.base.companion_mirrored
        return save_bundle(folder, document, network.cpu(), companion, share, mirrored)

    def choose_companion(
        self, cases: list[dict[str, ComparedCase]], numbers: list[int]
    ) -> tuple[list[ComparedCase], list[str]]:
        """Leave the companion out if the held-out `cases` are clearly better without it: it learned nothing of the
        user's.

        Returns the cases' rows of the model chosen and sentences on it; what the other one found is deleted.
        """
        if not self.may_leave_companion or not cases:
            return [rows[NEW] for rows in cases], []
        alone = better_alone(cases)
        for number in numbers:
            with_it, without = (self.folder.comparison(number) / scored_file(which) for which in (NEW, ALONE))
            if alone:
                without.replace(with_it)
            without.unlink(missing_ok=True)
        if not alone:
            return [rows[NEW] for rows in cases], []
        self.companion = None
        return [rows[ALONE] for rows in cases], [LEFT_OUT]

    def candidates(self, network: AutofocusNetwork, run: Run) -> dict[str, Manifest]:
        """Copies of what a run learned, to be scored: with the base's companion, and without where it may be left out.
        """
        unscored = compare([], None, "none", 0, {})  # the card of these copies says so, and goes with them
        models = {NEW: self.bundle(self.folder.run(run.name) / "model", network, unscored, self.companion)}
        if self.may_leave_companion:
            models[ALONE] = self.bundle(self.folder.run(run.name) / "model-alone", network, unscored, None)
        return models

    def score(self, models: dict[str, Manifest], number: int) -> dict[str, ComparedCase]:
        """A held-out case's rows, for each of `models`."""
        files = self.request.cases[number]
        if not unchanged(load_prepared(self.folder.cache(number)), files):
            raise InputError(
                f"The files of {files.name} have changed since the training began; put them back, then go on with "
                "Resume (--resume)."
            )
        case = check_case(files, self.base, self.labels, {})
        if not case.usable:
            raise InputError(case.problems[0])
        self.familiar += case.fingerprint in (self.base_learned or ())
        folder = self.folder.comparison(number)
        place = folder.relative_to(self.folder.output).as_posix()
        return score_case(
            case, self.base, models, self.labels, folder, place, self.device.type, self.progress.interrupt
        )

    def original(self, network: AutofocusNetwork) -> OriginalCase | None:
        """What was forgotten of the base model's domain; None, with a note, where no case can be made for it."""
        pack = Path(self.request.original_case) if self.request.original_case else None
        try:
            channels, truth, what = original_case(self.base, self.labels, pack, self.request.seed)
        except AfnetError as error:
            self.progress.note(f"What the new model forgot could not be checked: {error}")
            return None
        before = base_probabilities(answer(self.network.to(self.device), channels, self.labels), self.labels)
        after = answer(network.to(self.device), channels, self.labels)
        return compare_original(truth, self.labels, decide(before, self.labels), decide(after, self.labels), what)

    def settings(self, final: EpochTraining) -> TuningSettings:
        request = self.request
        chosen = final.ended_by
        if chosen == "fixed" and not request.epochs:
            chosen = BY_CROSS_VALIDATION
        return {
            "tune": request.tune, "learning_rate": request.learning_rate, "batch": request.batch,
            "samples_per_case": request.samples_per_case, "epochs": len(final.history), "epochs_chosen_by": chosen,
            "horizon": request.horizon, "statistics": request.statistics, "patience": request.patience,
            "seed": request.seed,
            "dropped": list(request.drop), "added": [wish["id"] for wish in request.add], "afnet": __version__,
        }
