"""The command line `afnet finetune`: options to a request, then the job, whose end is noted in its folder.

Heavy imports wait until the command runs.
"""

import argparse
import json
from pathlib import Path

from ..errors import AfnetError, Cancelled, DeviceFailed, InputError, OutOfMemory, RequestError
from ..json_documents import ComparisonDocument
from ..models.manifest import Manifest, find_model
from ..models.model_places import readable_folder
from ..models.training_folder import DONE, FAILED, STOPPED
from ..options import DEVICE, MODELS, PROGRESS, add_parent_options, named_path, whole_number
from ..process.progress import Progress
from .request import (
    HOLD_OUT_FROM,
    LEARNING_RATES,
    LIMITS,
    SAMPLES_PER_CASE,
    STATISTICS,
    TUNES,
    FineTuningRequest,
    choose_held_out,
    choose_id,
    read_cases,
    suggestion,
    tuning_problem,
)
from .stopping import StopRequests

SETTINGS = (
    "base", "cases", "tune", "epochs", "max_epochs", "hold_out", "leave_one_out", "id", "title", "candidate_only",
    "original_case", "learning_rate", "batch", "samples_per_case", "patience", "statistics", "seed",
)
"""Options that a training is begun with, and that stay while it goes on."""


def add_finetune(commands) -> None:
    """Add the command `finetune` to the parsers of the command line."""
    parser = commands.add_parser("finetune", help="fine-tune a model on your own cases")
    parser.add_argument("--base", help="id or folder of the model to start from; it is never changed")
    parser.add_argument("--cases", type=named_path, metavar="cases.json", help="images and segmentations to learn from")
    parser.add_argument("--output", type=named_path, metavar="FOLDER", help="folder of the new model")
    parser.add_argument("--tune", choices=TUNES, default="attention",
                        help="what is trained: attention, normalisation and classifier; these and the last two "
                             "blocks; or all (default: attention)")
    parser.add_argument("--epochs", type=_epochs, default=20, metavar="N|auto",
                        help="maximum number of epochs, or auto: chosen by cross-validation (default: 20)")
    parser.add_argument("--max-epochs", type=_whole("max_epochs"), default=20, metavar="N",
                        help="upper limit for --epochs auto (default: 20)")
    parser.add_argument("--hold-out", default="auto", metavar="NAMES|auto|none",
                        help=f"cases to test on; auto: a third of them, none if there are fewer than {HOLD_OUT_FROM} "
                             "(default: auto)")
    parser.add_argument("--leave-one-out", action="store_true", help="hold out each case once, then train on all")
    parser.add_argument("--id", default="", help="id of the new model (default: the output folder's name)")
    parser.add_argument("--title", default="", help="title of the new model")
    parser.add_argument("--candidate-only", action="store_true",
                        help="leave the new model in FOLDER/training/candidate")
    parser.add_argument("--original-case", type=named_path, metavar="FILE.npz",
                        help="packed case of the base model's kind, to measure what was forgotten")
    parser.add_argument("--learning-rate", type=learning_rate, metavar="X",
                        help="learning rate (default: depends on --tune)")
    parser.add_argument("--batch", type=_whole("batch"), metavar="N",
                        help="samples per step (default: one per process)")
    parser.add_argument("--samples-per-case", type=_whole("samples_per_case"), default=SAMPLES_PER_CASE,
                        metavar="N", help=f"samples per case in an epoch (default: {SAMPLES_PER_CASE})")
    parser.add_argument("--patience", type=_whole("patience"), default=5, metavar="N",
                        help="stop when the loss of N epochs is hardly below that of the N before; 0: never "
                             "(default: 5)")
    parser.add_argument("--statistics", choices=STATISTICS, default="auto",
                        help="running statistics of the normalisation: auto re-estimates them once at the end, on "
                             "whole training volumes, if the training cases improve; frozen keeps the base model's "
                             "(default: auto)")
    parser.add_argument("--seed", type=_whole("seed"), default=0, metavar="N",
                        help="seed of the random numbers; on a CPU the same seed gives the same model (default: 0)")
    parser.add_argument("--resume", action="store_true", help="go on with the training in the output folder")
    parser.add_argument("--check-only", action="store_true", help="check the cases and print the result as JSON")
    parser.add_argument("--device", **DEVICE)
    parser.add_argument("--progress", **PROGRESS)
    # Slicer's side has the cases checked before the user has a folder of models.
    parser.add_argument("--models", **MODELS | {"type": Path})
    # Of a training the end of standard input stops it after the step, a line 'finish' after the epoch.
    add_parent_options(parser)
    parser.set_defaults(command=finetune, default_of=parser.get_default)


def finetune(options, progress: Progress) -> None:
    """Run `afnet finetune`. Raises AfnetError as every command."""
    stops = StopRequests()
    if options.check_only and options.resume:
        raise RequestError("--check-only and --resume exclude each other; use one of them.")
    if options.check_only:  # whose parent is watched from the start: it ends at once, see __main__.py
        _check_only(options, progress, stops)
        return
    if options.parent_pipe:
        stops.watch_parent()
    if options.output is None:
        raise RequestError("The new model needs a folder; give --output FOLDER.")
    for folder in options.models:
        readable_folder(folder)
    from .processes import Processes
    from .run_folder import RunFolder

    processes = Processes()
    folder = RunFolder(options.output)
    if options.resume:
        _refuse_other_settings(options)
    # Every process looks before process 0 writes: they meet in `_start`.
    folder.check(options.resume)
    request = folder.read_request() if options.resume else read_request(options, processes.count)
    stops.watch_signals()  # only now: until here there is no step to end after, and nothing to keep
    _start(options, progress, processes)
    unmeasured = not (options.resume or request.hold_out or request.leave_one_out) and options.hold_out == "auto"
    if unmeasured and processes.first and options.progress == "text":  # Slicer's side has told it already
        progress.note("No case is held out, so nobody will know whether the new model is better (--leave-one-out).")
    try:
        _run(request, folder, options, progress, stops, processes)
        processes.meet()
    finally:
        processes.leave()


def _refuse_other_settings(options) -> None:
    """A training goes on as it was begun. Raises RequestError if it is asked to go on otherwise."""
    other = [name for name in SETTINGS if getattr(options, name) != options.default_of(name)]
    if other:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in other)
        raise RequestError(f"A resumed training keeps its settings; omit {names}, or start another.")


def _run(request: FineTuningRequest, folder, options, progress: Progress, stops, processes) -> None:
    from .run import FineTuning

    try:
        job = FineTuning(request, folder, progress, stops, processes)
        if options.resume and processes.first:
            folder.resume()
        comparison = job.execute(options.resume)
    except BaseException as error:
        if processes.first:
            stopped = isinstance(error, Cancelled | KeyboardInterrupt | MemoryError | OutOfMemory | DeviceFailed)
            folder.end(STOPPED if stopped else FAILED, str(error) if isinstance(error, AfnetError) else None)
        raise
    if processes.first:
        folder.end(DONE)
        progress.done()
        if options.progress == "text":
            print(format_comparison(comparison))
            if request.id != folder.output.name:
                print(f"The new model's id is {request.id}.")
            print(folder.candidate if request.candidate_only else folder.output)


def _start(options, progress: Progress, processes) -> None:
    """Choose the device, meet the other processes there, and introduce this program."""
    import torch

    from ..devices import choose_device

    device, _, notes = choose_device(options.device, "float32", learns=True)
    processes.join(device)
    if processes.first:
        progress.start(torch.__version__, device.type)
        for note in notes:
            progress.note(note)


def read_request(options, processes: int) -> FineTuningRequest:
    """Turn the options of a new fine-tuning into its request. Raises RequestError."""
    base, (cases, drop, add) = _base_and_cases(options)
    names = [case.name for case in cases]
    if options.leave_one_out and options.hold_out not in ("auto", "none"):
        raise RequestError("Leave-one-out holds out every case once; omit --hold-out.")
    output = options.output.absolute()
    original = _original_case(options.original_case, base)
    return FineTuningRequest(
        base=str(base.folder), base_id=base.id, base_sha256=base.members_sha256, cases=cases, drop=drop, add=add,
        tune=options.tune, epochs=options.epochs, max_epochs=options.max_epochs,
        hold_out=() if options.leave_one_out else choose_held_out(options.hold_out, names),
        leave_one_out=options.leave_one_out, id=choose_id(options.id, output, options.models),
        title=" ".join(options.title.split()), candidate_only=options.candidate_only, original_case=original,
        learning_rate=options.learning_rate or LEARNING_RATES[options.tune], batch=options.batch or processes,
        samples_per_case=options.samples_per_case, patience=options.patience, statistics=options.statistics,
        seed=options.seed,
    )


def _base_and_cases(options) -> tuple[Manifest, tuple]:
    if not options.base or not options.cases:
        raise RequestError("A fine-tuning needs a model to start from (--base) and cases to learn from (--cases).")
    base = find_model(options.base, options.models)
    problem = tuning_problem(base)
    if problem:
        raise RequestError(problem)
    return base, read_cases(options.cases)


def _whole(name: str):
    """The type of an option that is a whole number of the request."""
    return whole_number(*LIMITS[name])


def _epochs(text: str) -> int:
    return 0 if text == "auto" else whole_number(1)(text)


def learning_rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < 1:
        raise argparse.ArgumentTypeError("it must lie between 0 and 1")
    return rate


def _original_case(file: Path | None, base: Manifest) -> str | None:
    if file is None:
        return None
    from ..learning.packed_case import UNREADABLE, load_case

    try:
        case = load_case(file) if file.is_file() else None
        fits = case and (len(case.channels), len(case.truth)) == (len(base.channels), len(base.structures))
    except UNREADABLE:
        fits = False
    if not fits:
        raise RequestError(
            "The file of --original-case is not a packed case of this model; give one packed for it by the programs "
            "in the source folder Training, or omit the option."
        )
    return str(file.absolute())


def _check_only(options, progress: Progress, stops: StopRequests) -> None:
    """Check the cases and say what was found; nothing is written. Raises InputError if one cannot be used."""
    base, (cases, drop, add) = _base_and_cases(options)
    stops.watch_signals()
    import torch

    progress.start(torch.__version__, "cpu")
    from .label_set import change_labels
    from .run import STAGES, check_all

    request = FineTuningRequest(str(base.folder), base.id, base.weights_sha256, cases, drop, add)
    stages = {"check": 1.0} | {name: 0.0 for name in STAGES if name != "check"}

    def interrupt() -> None:
        if stops.stop.is_set():
            raise Cancelled("Stopped.")

    progress.plan(stages, interrupt)
    told = progress if options.progress == "json" else Progress(stages=stages, interrupt=interrupt)
    told.stage("check")
    checked = check_all(request, base, change_labels(base, drop, add), told, to_learn=False)
    usable = sum(case.usable for case in checked)
    if options.progress == "json":
        progress.event(event="checked", usable=usable, cases=len(checked), suggestion=suggestion(usable))
    else:
        found = {"cases": [case.to_json() for case in checked], "usable": usable, "suggestion": suggestion(usable)}
        print(json.dumps(found, indent=2, ensure_ascii=False))
    if usable < len(checked):
        problem = next(case.problems[0] for case in checked if not case.usable)
        raise InputError(f"{len(checked) - usable} of {len(checked)} cases cannot be used: {problem}")
    if options.progress == "json":
        progress.done()


def format_comparison(comparison: ComparisonDocument) -> str:
    """The comparison as text: one line a case and structure, then the advice."""
    lines = []
    for case in comparison["cases"]:
        for row in case["structures"]:
            values = [row[which]["dice"] if row[which] else None for which in ("base", "new")]
            before, after = ("-" if value is None else f"{value:.3f}" for value in values)
            lines.append(f"{case['name']:<16} {row['name']:<22} Dice {before} -> {after}")
    for row in (comparison["original"] or {}).get("structures", ()):
        agreement = "-" if row["agreement"] is None else f"{row['agreement']:.3f}"
        lines.append(f"{'original kind':<16} {row['name']:<22} agreement with the base model {agreement}")
    return "\n".join([*lines, comparison["advice"]])
