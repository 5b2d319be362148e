"""Files and documents with random faults: one clear sentence, or what the part without fault says; nothing else.

Seeded: a case that fails is the same tomorrow, and its number is in the message. To look further, raise `CASES`. What
random faults found is tested by itself where the file concerned is tested.
"""

import copy
import gzip
import json
import struct
import warnings
from contextlib import contextmanager

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_slices import SECRET as PATIENT
from dicom_slices import series, stored
from image_files import OBLIQUE, SECRET, saved, scan

from afnet.errors import AfnetError
from afnet.evaluation import evaluate
from afnet.finetuning.request import CaseFiles, FineTuningRequest, read_cases
from afnet.finetuning.run_folder import RunFolder
from afnet.images.geometry import index_to_lps, lies_at
from afnet.images.reading import read_image
from afnet.models.manifest import find_model, read_manifest
from afnet.models.training_folder import delete_caches, sizes, unfinished
from afnet.models.weights_file import read_weights
from afnet.output.segmentation_file import read_segmentation
from afnet.output.writing import write_segmentation

CASES = 60
"""Of each kind."""

WORDS = ["", " ", "nan", "inf", "-1", "0", "1", "2", "1 1 1", "0 0 0", "(0,0,0)", "none", "raw", "gzip", "True",
         "False", "LOCAL", "LIST", "1_0 2 3", "1e400", "9" * 20, "é", "x" * 3000, "a\0b", "mm", "1.5x 2 3",
         '"cm" "cm" "cm"']

VALUES = [None, True, 0, -1, 7, 256, 10**40, 1.5, 1e300, "", "x", "\ud800", "a\nb", "x" * 3000, "\0", [], {}, [[]],
          [None], {"a": 1}, [1, 2], "(a+", "a{99999999999}"]

TEXTS = ["NaN", "1e999", "9" * 5000, "[" * 20000, '{"a":' * 20000, "01", '"\\ud800"', "1.0"]
"""What stands in JSON for a value that no value of Python gives."""

PLACE = {"TransformMatrix", "Offset", "Position", "ElementSpacing", "ElementSize", "DistanceUnits", "DimSize", "NDims",
         "space", "space directions", "space origin", "sizes", "dimension"}
VOXELS = {"ElementType", "DimSize", "NDims", "HeaderSize", "BinaryData", "BinaryDataByteOrderMSB", "CompressedData",
          "CompressedDataSize", "ElementDataFile", "ElementNumberOfChannels", "type", "sizes", "dimension", "endian",
          "encoding", "data file", "byte skip"}
"""Fields of NRRD and MetaImage that say where the voxels lie, and what they are."""

NIFTI_PLACE, NIFTI_VOXELS = ((40, 56), (76, 108), (123, 124), (252, 328)), ((0, 4), (40, 56), (70, 74), (108, 120))
"""The same, from which byte of a NIfTI header to which."""

EXTREMES = [struct.pack("<f", value) for value in (0, -1, np.nan, np.inf, 1e-30, 3e38, 352, 1.02)] + [
    struct.pack("<2h", *value) for value in ((0, 0), (-1, 1), (3, 32767), (2, 8), (4, 16))]


@contextmanager
def one_sentence(case, folder):
    """Whatever is refused meanwhile is refused with one sentence, which names no file; nothing else is raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    except AfnetError as error:
        text = str(error)
        assert error.exit_code in (2, 3) and text.endswith(".") and "\n" not in text, (case, text)
        assert ". " not in text.replace(str(folder), "") and SECRET not in text and PATIENT not in text, (case, text)
    except Exception as error:
        raise AssertionError(f"case {case}") from error


def faulty_lines(rng, lines: list[str], fields: list[str]) -> tuple[list[str], set[str]]:
    """Lines of a header with one or two faults, and the names of the fields that these touch."""
    lines, touched = list(lines), set()
    for _ in range(rng.integers(1, 3)):
        at = int(rng.integers(1, len(lines)))
        mark = next((mark for mark in (":=", " = ", ": ") if mark in lines[at]), ": ")
        name, _, value = lines[at].partition(mark)
        word = WORDS[rng.integers(len(WORDS))]
        match rng.integers(6):
            case 0:
                del lines[at]
            case 1 | 2:
                lines[at] = name + mark + word
            case 3:
                place = int(rng.integers(len(value) + 1))
                lines[at] = name + mark + value[:place] + "0x. _"[rng.integers(5)] + value[place:]
            case 4:
                lines.insert(at, lines[int(rng.integers(1, len(lines)))])
                touched.add(lines[at].partition(mark)[0])
            case _:
                name = fields[rng.integers(len(fields))]
                lines.insert(at, name + mark + word)
        touched.add(name)
    return lines, touched


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", ["nrrd", "nhdr", "mha", "mhd"])
def test_headers_of_lines(tmp_path, kind, compress):
    original = scan(direction=OBLIQUE)
    path = saved(tmp_path, original, kind, compress)
    content = path.read_bytes()
    end = b"\n\n" if kind == "nrrd" else b"ElementDataFile = LOCAL\n" if kind == "mha" else None
    cut = content.index(end) + len(end) if end else len(content)
    lines, data = content[:cut].decode().rstrip("\n").split("\n"), content[cut:]
    fields = sorted(PLACE | VOXELS) + ["CenterOfRotation", "space units", "kinds", "Comment", "key"]
    accepted = 0
    for case in range(CASES):
        rng = np.random.default_rng(case)
        faulty, touched = faulty_lines(rng, lines, fields)
        last = "\n" if end or rng.random() < 0.7 else ""
        path.write_bytes(("\n".join(faulty) + last + "\n" * (kind == "nrrd")).encode() + data)
        if not last:
            touched.add(faulty[-1].partition(":")[0].partition(" =")[0])
        with one_sentence(case, tmp_path):
            image = read_image(path)
            accepted += 1
            assert touched & PLACE or lies_at(image, index_to_lps(original)), touched
            same = image.GetSize() == original.GetSize() and not np.any(
                sitk.GetArrayViewFromImage(image) != sitk.GetArrayViewFromImage(original))
            assert touched & VOXELS or same, touched
    assert 0 < accepted < CASES


@pytest.mark.parametrize("kind", ["nii", "nii.gz"])
def test_nifti(tmp_path, kind):
    original = scan(direction=OBLIQUE)
    plain = saved(tmp_path, original, "nii").read_bytes()
    path = tmp_path / f"{SECRET}.{kind}"
    accepted = 0
    for case in range(3 * CASES):
        rng = np.random.default_rng(case)
        content, touched = bytearray(plain), []
        for _ in range(rng.integers(1, 3)):
            at = 4 * int(rng.integers(0, 88))
            new = EXTREMES[rng.integers(len(EXTREMES))] if rng.random() < 0.7 else rng.bytes(4)
            content[at : at + 4] = new
            touched.append(at)
        if rng.random() < 0.2:
            del content[int(rng.integers(len(content))) :]
        if kind == "nii":
            path.write_bytes(content)
        else:
            path.write_bytes(gzip.compress(content, 1, mtime=0))
        with one_sentence(case, tmp_path):
            image = read_image(path)
            accepted += 1
            place, voxels = (any(low - 4 < at < high for at in touched for low, high in ranges)
                             for ranges in (NIFTI_PLACE, NIFTI_VOXELS))
            assert place or lies_at(image, index_to_lps(original)), touched
            assert voxels or np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(original)), touched
    assert 0 < accepted < 3 * CASES


def test_dicom(tmp_path):
    words = [None, "", "nan", "-1", "1\\2", "0\\0\\0\\0\\0\\0", "1_0", "1e400", "x" * 60, "MONOCHROME1", "MR"]
    tags = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept",
            "Modality", "PhotometricInterpretation", "SeriesInstanceUID", "SOPInstanceUID", "PatientID"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in range(CASES // 2):
            rng = np.random.default_rng(case)
            slices = series(count=4)
            word, tag = words[rng.integers(len(words))], tags[rng.integers(len(tags))]
            for item in slices if rng.random() < 0.5 else slices[:1]:
                del item[tag]
                if word is not None:
                    vr = pydicom.datadict.dictionary_VR(tag)
                    item.add(pydicom.dataelem.RawDataElement(
                        pydicom.tag.Tag(tag), vr, len(word), word.encode(), 0, False, True))
            folder = stored(tmp_path / str(case), slices)
            with one_sentence((case, tag, word), tmp_path):
                read_image(folder, "The CT", "CT")


def test_segmentations(tmp_path):
    model = find_model("pelvis-ct")
    labels = sitk.GetImageFromArray((np.arange(990) % 7).astype(np.uint8).reshape(9, 10, 11))
    labels.SetDirection(OBLIQUE.ravel().tolist())
    path = tmp_path / f"{SECRET}.seg.nrrd"
    write_segmentation(path, labels, model)
    header, end, data = path.read_bytes().partition(b"\n\n")
    lines = header.decode().split("\n")
    for case in range(CASES // 2):
        faulty, touched = faulty_lines(np.random.default_rng(case), lines, ["Segment0_Tags", "Segment9_ID", "key"])
        path.write_bytes("\n".join(faulty).encode() + end + data)
        with one_sentence(case, tmp_path):
            assert touched & PLACE or lies_at(read_segmentation(path).grid, index_to_lps(labels)), touched
            rows = evaluate(model, labels, path, tell=lambda text: None)
            assert all(row["dice"] in (0.0, 1.0) for row in rows), "a segment is the one it was, or none"


def paths(document, at=()):
    """The ways to every value inside a document."""
    if not isinstance(document, dict | list):
        return
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        yield (*at, key)
        yield from paths(value, (*at, key))


def faulty_json(rng, document) -> str:
    """A document with one or two values gone, replaced or put elsewhere."""
    document, text = copy.deepcopy(document), None
    for _ in range(rng.integers(1, 3)):
        ways = list(paths(document))
        if not ways:
            break
        *way, key = ways[rng.integers(len(ways))]
        parent = document
        for step in way:
            parent = parent[step]
        match rng.integers(5):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[["more", "é"][rng.integers(2)]] = parent[key]
            case 2:
                parent[key], text = "@raw@", TEXTS[rng.integers(len(TEXTS))]
            case _:
                parent[key] = VALUES[rng.integers(len(VALUES))]
    return json.dumps(document).replace('"@raw@"', text or "0")


@pytest.mark.parametrize("name", ["pelvis-ct", "brain-tumour-mri"])
def test_models(tmp_path, name):
    model = find_model(name)
    weights = model.weights_file.read_bytes()
    for case in range(CASES):
        rng = np.random.default_rng(case)
        (tmp_path / "model.json").write_text(faulty_json(rng, model.raw), encoding="utf-8")
        damaged = bytearray(weights)
        damaged[int(rng.integers(len(damaged)))] ^= 1
        (tmp_path / "weights.npz").write_bytes(damaged)
        with one_sentence(case, tmp_path):
            found = read_manifest(tmp_path)
            assert found.members and found.code_names and found.output_codes
            read_weights(found)
            raise AssertionError("weights of another SHA-256 were taken")


def test_documents_of_a_training(tmp_path):
    terminology = {"category": ["a", "b", "c"], "type": None}
    added = {"id": "bulb", "name": "Bulb", "color": [1, 2, 3], "terminology": terminology}
    asked = {"cases": [{"name": "one", "inputs": {"ct": "ct.nrrd"}, "segmentation": "s.nrrd", "mapping": {"x": None},
                        "absent": ["rectum"]}], "structures": {"drop": ["bladder"], "add": [added]}}
    case_files = CaseFiles("one", {"ct": "ct.nrrd"}, "s.nrrd")
    request = FineTuningRequest(
        "base", "pelvis-ct", "0", (case_files,), ("bladder",), (added,), hold_out=("one",)).to_json()
    state = {"status": "stopped", "pid": 5, "run": "final", "epoch": 3, "epochs": 20, "problem": None}
    training = tmp_path / "home" / "model" / "training"
    for case in range(2 * CASES):
        rng = np.random.default_rng(case)
        training.mkdir(parents=True, exist_ok=True)
        for file, document in ((tmp_path / "cases.json", asked), (training / "request.json", request),
                               (training / "state.json", state)):
            file.write_text(faulty_json(rng, document), encoding="utf-8")
        with one_sentence(case, tmp_path):
            assert all(run.text for run in unfinished(tmp_path / "home")) and sizes(training.parent).total
        with one_sentence(case, tmp_path):
            cases, drop, add = read_cases(tmp_path / "cases.json")
            json.dumps([drop, add, [vars(item) for item in cases]])
        with one_sentence(case, tmp_path):
            found = RunFolder(training.parent).read_request()
            assert isinstance(found.base, str) and all(isinstance(item.segmentation, str) for item in found.cases)
        with one_sentence(case, tmp_path):
            delete_caches(training.parent)
