"""The command line: `models`, `segment`, `attend`, `evaluate` and others. Heavy imports wait until they are needed."""

import argparse
import json
import os
import sys
import traceback
from pathlib import Path

from . import __version__
from .atomic_file import FULL, refusal
from .attention_request import KINDS, AttentionRequest
from .benchmark.command import add_benchmark
from .errors import AfnetError, Cancelled, OutOfMemory, RequestError, is_out_of_memory, package_missing
from .finetuning.command import add_finetune
from .models.manifest import TILES, WHOLE_VOLUME, find_model, find_models
from .models.model_places import check_variable
from .options import DEVICE, MODELS, PROGRESS, add_parent_options, memory_amount, named_path
from .process.parent import leave
from .process.progress import Progress
from .study_request import StudyRequest

DEBUG_VARIABLE = "AFNET_DEBUG"
"""Set to anything to see the traceback of an unexpected error."""


class _Parser(argparse.ArgumentParser):
    """Ends a wrong command line with one sentence instead of the usage."""

    def error(self, message: str):
        raise RequestError(f"The command line is wrong: {message}; see 'python -m {self.prog} --help'.")


def run(arguments: list[str]) -> int:
    """Run one command; return the exit code (0, 2, 3, 4, 130, or 1 for an error that is ours)."""
    progress = Progress()
    try:
        options = _parser().parse_args(arguments)
        if getattr(options, "progress", None):
            progress = Progress(options.progress)
        options.command(options, progress)
        sys.stdout.flush()
        return 0
    except AfnetError as error:
        return _fail(progress, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(progress, "Cancelled.", Cancelled.exit_code)
    except BrokenPipeError:
        leave()  # nobody reads on: the parent is dead, and flushing stdout at exit would fail again
    except (ImportError, OSError) as error:
        missing = package_missing(error)
        if missing:
            return _fail(progress, str(missing), missing.exit_code)
        if isinstance(error, ImportError) or error.errno not in FULL:
            return _fail_unexpectedly(progress, error)
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  or Python would try to write there at its end
        return _fail(progress, str(refusal(error, "The printed text")), RequestError.exit_code)
    except Exception as error:
        return _fail_unexpectedly(progress, error)


def _fail_unexpectedly(progress: Progress, error: Exception) -> int:
    if is_out_of_memory(error):
        text = "The computer ran out of memory; close other programs and try again."
        return _fail(progress, text, OutOfMemory.exit_code)
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    place = traceback.extract_tb(error.__traceback__)[-1]
    return _fail(
        progress,
        f"An unexpected error happened ({type(error).__name__} in {Path(place.filename).name}:{place.lineno}); "
        f"run again with {DEBUG_VARIABLE}=1 and report what it prints.",
        1,
    )


def _fail(progress: Progress, text: str, code: int) -> int:
    text = " ".join(text.split())  # one line, whatever a name in it holds
    progress.error(text, code)
    print(text, file=sys.stderr, flush=True)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="afnet", description="Autofocus segmentation of pelvic CT and brain MRI. Not for clinical use."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    models = commands.add_parser("models", help="list the models")
    models.add_argument("--json", action="store_true", help="the whole manifests, as JSON")
    models.add_argument("--models", **MODELS)
    models.set_defaults(command=_models)

    segment = commands.add_parser("segment", help="segment one study")
    segment.add_argument("--output", type=named_path, required=True, metavar="FILE.seg.nrrd",
                         help="Slicer segmentation; the name must end in .seg.nrrd")
    segment.add_argument("--labelmap", type=named_path, metavar="FILE",
                         help="label map; the name must end in .nii, .nii.gz, .nrrd or .mha")
    _add_study_arguments(segment, attention_required=False)
    segment.set_defaults(command=_segment)

    attend = commands.add_parser("attend", help="attention maps of one study, without segmenting it")
    _add_study_arguments(attend, attention_required=True)
    attend.set_defaults(command=_attend, output=None, labelmap=None)

    _add_evaluate(commands)
    _add_import_checkpoint(commands)
    add_finetune(commands)
    add_benchmark(commands)
    return parser


def _add_evaluate(commands) -> None:
    parser = commands.add_parser("evaluate", help="compare a segmentation with the truth")
    parser.add_argument("--model", required=True, help="a model's id or folder")
    parser.add_argument("--truth", type=named_path, required=True, metavar="FILE",
                        help="label map in the model's codes, or .seg.nrrd")
    parser.add_argument("--prediction", type=named_path, required=True, metavar="FILE",
                        help="label map or .seg.nrrd")
    parser.add_argument("--only", metavar="IDS",
                        help="comma-separated structures to score, those that were drawn in the truth (default: "
                             "all; a structure found only in the prediction then scores 0)")
    parser.add_argument("--resample", action="store_true", help="bring the prediction to the truth's grid")
    parser.add_argument("--models", **MODELS)
    parser.add_argument("--json", action="store_true", help="the scores as JSON instead of a table")
    parser.set_defaults(command=_evaluate)


def _add_import_checkpoint(commands) -> None:
    parser = commands.add_parser("import-checkpoint", help="make a model of a checkpoint of the paper's authors")
    parser.add_argument("file", type=named_path, metavar="FILE", help="for example 390_checkpoint.pth.tar")
    parser.add_argument("--output", type=named_path, required=True, metavar="FOLDER",
                        help="the model folder to make; its name becomes the model's id")
    parser.add_argument("--inputs", required=True, metavar="ORDER",
                        help="order of the network's channels, for example flair,t1,t1c,t2; the checkpoint does "
                             "not store it")
    parser.add_argument("--execution", choices=(TILES, WHOLE_VOLUME), default=TILES,
                        help="tiles-75: as the authors did; whole-volume: faster, but gives different results "
                             "(default: tiles-75)")
    parser.set_defaults(command=_import_checkpoint)


def _add_study_arguments(parser: argparse.ArgumentParser, attention_required: bool) -> None:
    """What `segment` and `attend` have in common."""
    parser.add_argument("--model", required=True, help="a model's id or folder")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE", required=True,
                        help="NIfTI, NRRD or MetaImage file, or DICOM folder; once for every input of the model, "
                             "whose names 'models' lists (case does not matter)")
    parser.add_argument("--attention", type=named_path, required=attention_required, metavar="FOLDER",
                        help="write attention maps: <layer>-focus-mm.nrrd, <layer>-rate<r>.nrrd")
    parser.add_argument("--attention-layers", default="", metavar="LAYERS",
                        help="comma-separated, for example layer6,layer8 (default: all autofocus layers)")
    parser.add_argument("--attention-kind", choices=KINDS, default="both",
                        help="focus: expected reach in mm; maps: one map per rate, 255 means 1 (default: both)")
    parser.add_argument("--report", type=named_path, metavar="FILE.json",
                        help="volumes, geometry, seconds, memory, model; the name must end in .json")
    parser.add_argument("--device", **DEVICE)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto",
                        help="auto: bfloat16 where the device multiplies it in hardware, else float32 (default: auto)")
    parser.add_argument("--memory", type=memory_amount, metavar="2GB",
                        help="memory for the network, not counting program and images (default: 70 %% of what is "
                             "free)")
    parser.add_argument("--models", **MODELS)
    parser.add_argument("--progress", **PROGRESS)
    add_parent_options(parser)


def _models(options, progress: Progress) -> None:
    check_variable()
    entries = find_models(options.models)
    if options.json:
        print(json.dumps([
            {"id": entry.id, "folder": str(entry.folder), "bundled": entry.bundled, "problem": entry.problem,
             "manifest": entry.manifest.raw if entry.manifest else None}
            for entry in entries
        ], indent=2))
        return
    for entry in entries:
        if entry.manifest is None:
            print(f"{entry.id}\n  not usable: {entry.problem}")
            continue
        manifest = entry.manifest
        print(f"{manifest.id} {manifest.version}\n  {manifest.title}")
        print(f"  made for: {manifest.population}")
        if manifest.not_validated_on:
            print(f"  not validated on: {manifest.not_validated_on}")
        print(f"  inputs: {', '.join(item.name for item in manifest.inputs)}")
        print(f"  structures: {', '.join(structure.id for structure in manifest.structures)}")
        print(f"  scores: {manifest.scores['summary']}")
        print(f"  use: {manifest.intended_use}")


def _segment(options, progress: Progress) -> None:
    request = _study_request(options)
    from .segmentation import segment

    report = segment(request, progress)
    progress.done()
    if options.progress == "text":
        for row in report["structures"]:
            remark = "  (touches the image's edge)" if row["touches_edge"] else ""
            remark = "  (withheld as implausible)" if row["left_out"] else remark
            print(f"{row['name']:<20} {row['volume_ml']:9.2f} ml{remark}")
        print(f"{report['seconds']['total']:.1f} s on {report['device']}: {options.output}")


def _attend(options, progress: Progress) -> None:
    request = _study_request(options)
    from .attending import attend

    report = attend(request, progress)
    progress.done()
    if options.progress == "text":
        for layer in report["attention"]["layers"]:
            print(f"{layer['layer']}: {', '.join(layer['files'].values())} ({layer['bytes'] / 1e6:.1f} MB)")
        print(f"{report['seconds']['total']:.1f} s on {report['device']}: {options.attention}")


def _study_request(options) -> StudyRequest:
    """Return what `segment` or `attend` is asked. Raises RequestError."""
    inputs = {}
    for text in options.input:
        name, equals, file = text.partition("=")
        name = name.lower()
        if not equals or not name or not file:
            raise RequestError(f"--input '{text}' is not NAME=FILE; write for example --input ct=scan.nii.gz.")
        if name in inputs:
            raise RequestError(f"The input '{name}' is given twice; give it once.")
        inputs[name] = os.path.expanduser(file)  # a shell leaves ~ as it is after "="
    layers = tuple(name.strip() for name in options.attention_layers.split(",") if name.strip())
    if not options.attention and (layers or options.attention_kind != "both"):
        raise RequestError("--attention-layers and --attention-kind need a folder: add --attention FOLDER.")
    return StudyRequest(
        options.model, inputs, options.output, options.labelmap, options.attention, options.report, options.device,
        options.precision, options.memory, options.models, AttentionRequest(layers, options.attention_kind),
    )


def _import_checkpoint(options, progress: Progress) -> None:
    from .models.checkpoint_import import import_checkpoint

    manifest = import_checkpoint(options.file, options.output, options.inputs, options.execution)
    print(f"{manifest.title}\n  model: {manifest.id} in {manifest.folder}")
    print(f"  channels: {', '.join(channel['input'] for channel in manifest.channels)}")
    print(f"  execution: {manifest.execution}")


def _evaluate(options, progress: Progress) -> None:
    from .evaluation import evaluate, format_table

    manifest = find_model(options.model, options.models)
    only = None if options.only is None else [name.strip() for name in options.only.split(",") if name.strip()]
    if only == []:
        raise RequestError(f"--only '{options.only}' names no structure; name some, separated by commas, or omit it.")
    rows = evaluate(
        manifest, options.truth, options.prediction, only, options.resample, lambda text: print(text, file=sys.stderr)
    )
    print(json.dumps(rows, indent=2) if options.json else format_table(rows))
