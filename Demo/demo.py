"""`make demo`: a real study segmented by the module's own logic, without Slicer's window.

The steps are those of a user's click on Segment: volumes in a scene, the module's logic, a child process with the
network, a segmentation in the scene. What is left in the output folder is listed at the end.
"""

import argparse
import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "AutofocusSegmentation"), str(REPOSITORY / "Testing" / "Python")]

from example_scan import ExampleUnavailable, example_scan  # noqa: E402 (after the paths)
from study_files import StudyNotFound, study_files  # noqa: E402

from afnet.errors import AfnetError  # noqa: E402
from afnet.models.manifest import Manifest, find_model  # noqa: E402

EXAMPLE_MODEL = "pelvis-ct"
SEGMENTATION = "segmentation.seg.nrrd"
ATTENTION = "attention"


class DemoFailed(Exception):
    """The demo cannot go on; the text is one sentence for the user."""


def main() -> int:
    arguments = parse_arguments()
    output = arguments.output.resolve()
    try:
        run(arguments.study, arguments.model, arguments.device, output)
    except (AfnetError, DemoFailed, ExampleUnavailable, StudyNotFound) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Cancelled.", file=sys.stderr)
        return 130
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, help="your own images: a file, a DICOM folder or a folder of inputs")
    parser.add_argument("--model", default=EXAMPLE_MODEL, help="id or folder of the model")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "demo-output", help="folder of the results")
    return parser.parse_args()


def run(study: Path | None, model: str, device: str, output: Path) -> None:
    """The demo, top to bottom."""
    started = time.monotonic()
    manifest = find_model(model)
    if study is None and manifest.id != EXAMPLE_MODEL:
        raise DemoFailed(
            f"There is no example for {manifest.id}; give your own images: make demo STUDY=folder MODEL={manifest.id}."
        )
    files = study_files(manifest, study) if study else {"ct": example_scan(REPOSITORY / ".cache")}
    prepare(output)
    slicer = start_slicer()
    volumes = {name: load_volume(name, path) for name, path in files.items()}
    result = segment(manifest, volumes, device, output / ATTENTION)
    load_attention(output / ATTENTION)
    draw(manifest, volumes, result, output / "views.png", example=study is None)
    save(slicer, result, output)
    report(manifest, result, output, example=study is None, seconds=time.monotonic() - started)


def prepare(output: Path) -> None:
    """Empty the output folder of an earlier run; a folder that holds anything else is refused."""
    if output.exists() and not output.is_dir():
        raise DemoFailed(f"{output} is a file; choose a folder for the results.")
    ours = {"scene.mrb", SEGMENTATION, "report.json", ATTENTION, "views.png"}
    foreign = sorted({entry.name for entry in output.iterdir()} - ours) if output.is_dir() else []
    if foreign:
        raise DemoFailed(f"The folder {output} holds other files ({foreign[0]}); choose an empty folder.")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)


def start_slicer():
    """Slicer's scene and logics without its window; see Testing/Python/harness."""
    try:
        from harness import headless, scripted_module
    except ImportError as error:
        raise DemoFailed(
            f"Slicer's libraries do not load ({error}); run the demo with make demo, and on Debian or Ubuntu "
            "install libegl1, libgl1 and libgl1-mesa-dri first."
        ) from None
    headless.start()
    scripted_module.install(gui=False)
    import slicer

    return slicer


def load_volume(name: str, path: Path):
    """Read a file or DICOM folder and add it to the scene as a volume node called `name`."""
    import SimpleITK as sitk
    import slicer.util

    from afnet.images.geometry import index_to_lps
    from afnet.images.reading import read_image
    from AutofocusSegmentationLib.scene.transforms import LPS_TO_RAS

    print(f"Reading {name}", flush=True)
    image = read_image(path)
    return slicer.util.addVolumeFromArray(
        sitk.GetArrayFromImage(image), ijkToRAS=LPS_TO_RAS @ index_to_lps(image), name=name
    )


def segment(manifest: Manifest, volumes: dict, device: str, attention: Path):
    """The module's own logic; the engine is asked for attention maps besides."""
    from AutofocusSegmentationLib import logic
    from AutofocusSegmentationLib.engine.child import ChildProcess

    class WithAttention(ChildProcess):
        """Asks for attention maps, and takes them out of the job folder before it goes."""

        def start(self, request, folder):
            self._job_folder = Path(folder)
            super().start(replace(request, attention=ATTENTION), folder)

        def poll(self):
            events = super().poll()
            if self.outcome is not None and self.outcome.kind == "done":
                shutil.copytree(self._job_folder / ATTENTION, attention, dirs_exist_ok=True)
            return events

    print(f"Segmenting with {manifest.id} {manifest.version}: {manifest.title}", flush=True)
    try:
        return logic.segment(manifest, volumes, device=device, engine=WithAttention(), on_progress=ProgressLine().show)
    except logic.SegmentationFailed as error:
        if sys.stdout.isatty():
            print()  # ends the line of progress
        raise DemoFailed(str(error)) from None


class ProgressLine:
    """The panel's words on the terminal: a line for each stage, rewritten where a person looks on."""

    def __init__(self) -> None:
        self._stage = ""

    def show(self, stage: str, fraction: float, seconds_left: float | None) -> None:
        from AutofocusSegmentationLib.panels.progress_text import stage_text, time_left_text

        new = stage != self._stage
        self._stage = stage
        if sys.stdout.isatty():
            line = f"  {100 * fraction:3.0f} %  {stage_text(stage)}  {time_left_text(seconds_left)}"
            print(f"\r{line:70}", end="\n" if stage == "load" else "", flush=True)
        elif new:
            print(f"  {stage_text(stage)}", flush=True)


def load_attention(folder: Path) -> None:
    """Add each layer's focus map (how far it looks, in mm) to the scene; the maps of every rate stay in `folder`."""
    import slicer.util

    for file in sorted(folder.glob("*-focus-mm.nrrd")):
        slicer.util.loadVolume(str(file), {"name": f"Attention {file.stem}", "show": False})


def save(slicer, result, output: Path) -> None:
    """Segmentation, report and the whole scene."""
    slicer.util.saveNode(result.segmentation, str(output / SEGMENTATION))
    text = json.dumps(result.report, indent=2, ensure_ascii=False)
    (output / "report.json").write_text(text + "\n", encoding="utf-8")
    if not slicer.util.saveScene(str(output / "scene.mrb")):
        raise DemoFailed(f"The scene could not be written to {output}; check that the disk has room.")


def draw(manifest: Manifest, volumes: dict, result, file: Path, example: bool) -> None:
    """The picture of the four views."""
    from picture import draw_views

    from AutofocusSegmentationLib.views.display import show_in_3d

    show_in_3d(result.segmentation, True)
    sign = "about " if example else ""
    captions = {
        structure["id"]: f"{structure['name']}  "
        + (f"{sign}{structure['volume_ml']:.1f} ml" if structure["voxels"] else "not found")
        for structure in result.report["structures"]
    }
    reference = manifest.input(manifest.reference)
    draw_views(volumes[manifest.reference], result.segmentation, reference.modality, captions, file)


def report(manifest: Manifest, result, output: Path, example: bool, seconds: float) -> None:
    """Volumes, what to know about them, and where to look."""
    print(f"\n{manifest.title}: done in {seconds:.0f} s on {result.report['device']}")
    approximate = "  (approximate)" if example else ""
    for structure in result.report["structures"]:
        found = f"{structure['volume_ml']:9.1f} ml{approximate}" if structure["voxels"] else "    not found"
        print(f"  {structure['name']:20}{found}")
    if example:
        print("The example gives no voxel size: 1.95 x 1.95 x 2.75 mm is an estimate, so volumes may be 30 % off.")
        print("The bundled weights were trained on this patient among others: expect less on your own images.")
    for note in [*result.report.get("geometry", ()), *result.report.get("notes", ())]:
        print(note)
    print("Not for clinical use.\n\nLook at")
    for name, what in (
        ("views.png", "axial, sagittal, coronal and 3D view with the segments"),
        ("scene.mrb", "everything, for 3D Slicer: File > Add Data"),
        (SEGMENTATION, "the segments alone"),
        (ATTENTION + "/", "attention maps: which dilation each autofocus layer chose"),
        ("report.json", "volumes, geometry decisions, times, model and weights"),
    ):
        print(f"  {output / name}  {what}")


if __name__ == "__main__":
    sys.exit(main())
