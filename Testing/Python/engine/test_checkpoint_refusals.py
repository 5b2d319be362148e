"""Checkpoints and requests that are not right: one sentence, and nothing is written."""

import os
import pickle
import warnings

import numpy as np
import pytest
import torch
from authors_checkpoint import State

from afnet.models import checkpoint_import

ORDER = "t1,t1c,t2,flair"


@pytest.fixture
def checkpoint(tmp_path):
    return State("AFN-2").save(tmp_path / "390_checkpoint.pth.tar")


@pytest.fixture
def import_refused(refused, out):
    """`import_refused(file, *words, **options)`: exit code 2, one sentence with the words, an empty folder."""

    def check(file, *words, order=ORDER, more=()):
        arguments = ["import-checkpoint", file, "--output", out / "model", "--inputs", order, *more]
        sentence = refused(2, arguments, *words)
        assert list(out.iterdir()) == []
        return sentence

    return check


def with_state(tmp_path, change, name="AFN-2"):
    """A checkpoint whose `state_dict` was changed in place."""
    state = State(name)
    change(state.tensors)
    return state.save(tmp_path / "changed.pth.tar")


class Bomb:
    """Runs a command when unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_missing_file_and_folder(import_refused, tmp_path):
    import_refused(tmp_path / "absent.pth.tar", "There is no file", "absent.pth.tar")
    import_refused(tmp_path, "There is no file")


@pytest.mark.parametrize("content", [b"", b"hello world\n" * 50, bytes(range(256)) * 9, pickle.dumps({"a": 1}), b"PK"])
def test_other_files(import_refused, tmp_path, content):
    file = tmp_path / "other.pth.tar"
    file.write_bytes(content)
    import_refused(file, "other.pth.tar is not a PyTorch checkpoint", "download it again")


def test_numpy_archive_and_torchscript(import_refused, tmp_path):
    np.savez(tmp_path / "weights.npz", a=np.zeros(3))
    import_refused(tmp_path / "weights.npz", "is not a PyTorch checkpoint")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(torch.nn.Conv3d(1, 1, 1)).save(str(tmp_path / "script.pt"))
    import_refused(tmp_path / "script.pt", "is not a PyTorch checkpoint")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95, 0.999])
def test_truncated(import_refused, tmp_path, zipped, kept):
    file = State("AFN-2").save(tmp_path / "cut.pth.tar", _use_new_zipfile_serialization=zipped)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    import_refused(file, "cut.pth.tar is not a PyTorch checkpoint, or is damaged or incomplete")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_the_file_is_never_run(import_refused, tmp_path, zipped):
    target = tmp_path / "exploded"
    content = State("AFN-2").checkpoint() | {"opt_dict": Bomb(target)}
    torch.save(content, tmp_path / "bomb.pth.tar", _use_new_zipfile_serialization=zipped)
    import_refused(tmp_path / "bomb.pth.tar", "Python objects besides weights", "was not opened")
    (tmp_path / "bare.pth.tar").write_bytes(pickle.dumps(Bomb(target)))
    import_refused(tmp_path / "bare.pth.tar", "not a PyTorch checkpoint")
    assert not target.exists()


@pytest.mark.parametrize("version", ["2.2.2", "2.6.0+cu124", "2.9.1"])
def test_old_torch_reads_no_pickle(import_refused, checkpoint, monkeypatch, version):
    monkeypatch.setattr(torch, "__version__", version)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the file was opened"))
    import_refused(checkpoint, "cannot be trusted", version, "2.10 or newer")


@pytest.mark.parametrize("version", ["2.10.0", "2.13.0+cpu", "3.0.0a0"])
def test_new_torch_reads_it(checkpoint, monkeypatch, version):
    monkeypatch.setattr(torch, "__version__", version)
    assert checkpoint_import.read_state(checkpoint)


def test_nothing_but_weights_is_asked_for(checkpoint, monkeypatch):
    asked = {}
    load = torch.load

    def recording(*arguments, **options):
        asked.update(options)
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", recording)
    checkpoint_import.read_state(checkpoint)
    assert asked["weights_only"] is True


@pytest.mark.parametrize(
    "content,words",
    [
        (State("AFN-2").tensors, "it has no state_dict"),
        ({"epoch": 3}, "it has no state_dict"),
        ({"state_dict": {}}, "it has no state_dict"),
        ({"state_dict": [torch.zeros(3)]}, "it has no state_dict"),
        (torch.zeros(3), "it has no state_dict"),
        ({"state_dict": {"module.conv1.weight": "weights"}}, "other things than tensors"),
        ({"state_dict": {3: torch.zeros(3)}}, "other things than tensors"),
        ({"state_dict": {"module.encoder.weight": torch.zeros(3)}}, "its keys are not theirs"),
    ],
)
def test_other_contents(import_refused, tmp_path, content, words):
    torch.save(content, tmp_path / "c.pth.tar")
    import_refused(tmp_path / "c.pth.tar", words)


def rename(state, old, new):
    for key in [key for key in state if key.startswith(old)]:
        state[new + key.removeprefix(old)] = state.pop(key)


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda s: s.pop("conv2.bias"), "looks like AFN-2 but lacks conv2.bias"),
        (lambda s: s.pop("layers.2.bn_list1.3.running_var"), "lacks layers.2.bn_list1.3.running_var"),
        (lambda s: s.pop("layers.0.downsample.0.weight"), "lacks layers.0.downsample.0.weight"),
        (lambda s: s.update({"fc2.weight": torch.zeros(3)}), "besides holds fc2.weight"),
        (lambda s: s.update({"layers.1.downsample.0.weight": torch.zeros(3)}), "besides holds layers.1.downsample"),
        (lambda s: s.update({"conv2.weight": s["conv2.weight"][..., :2]}), "shapes do not fit (at conv2.weight)"),
        (lambda s: s.update({"conv2.weight": torch.tensor(1.0)}), "shapes do not fit (at conv2.weight)"),
        (lambda s: s.update({"conv2.weight": s["conv2.weight"][:0]}), "shapes do not fit (at conv2.weight)"),
        (lambda s: s.update({"bn1.weight": torch.ones(9)}), "shapes do not fit (at bn1.weight)"),
        (lambda s: s.update({"bn1.weight": torch.ones(4, dtype=torch.int32)}), "shapes do not fit (at bn1.weight)"),
        (lambda s: s.update({"bn1.weight": torch.ones(4).to_sparse()}), "shapes do not fit (at bn1.weight)"),
        (
            lambda s: s.update({"layers.2.convatt12.weight": s["layers.2.convatt12.weight"][:2]}),
            "shapes do not fit (at layers.2.convatt12.weight)",
        ),
        (lambda s: s["fc.weight"].__setitem__((2, 1), float("nan")), "not numbers (at fc.weight)"),
        (lambda s: s["bn2.running_var"].__setitem__(1, float("inf")), "not numbers (at bn2.running_var)"),
        (lambda s: s.update({"fc.bias": torch.full((5,), 1e300, dtype=torch.float64)}), "not numbers (at fc.bias)"),
        (lambda s: rename(s, "layers.2.convatt1", "layers.2.other"), "elsewhere"),
    ],
)
def test_tensors_that_do_not_fit(import_refused, tmp_path, change, words):
    import_refused(with_state(tmp_path, change), words)


def test_autofocus_layers_in_another_block(import_refused, tmp_path):
    def swap(state):
        rename(state, "layers.0.", "layers.x.")
        rename(state, "layers.2.", "layers.0.")
        rename(state, "layers.x.", "layers.2.")

    import_refused(with_state(tmp_path, swap), "elsewhere than the authors' AFN-1 to AFN-6")


def test_network_of_another_task(import_refused, tmp_path):
    import_refused(State("AFN-2", inputs=2).save(tmp_path / "a"), "takes 2 images and not 4")
    import_refused(State("Basic", classes=7).save(tmp_path / "b"), "knows 7 classes and not the 5 of BRATS 2015")


@pytest.mark.parametrize(
    "order", ["", "t1,t1c,t2", "t1,t1c,t2,t2", "t1,t1c,t2,pet", "t1 t1c t2 flair", "t1,t1c,t2,flair,t1"]
)
def test_channel_order(import_refused, checkpoint, order):
    import_refused(checkpoint, "does not name each of t1, t1c, t2, flair once", "in the order", order=order)


def test_channel_order_is_never_guessed(refused, checkpoint, out):
    refused(2, ["import-checkpoint", checkpoint, "--output", out / "model"], "--inputs")
    refused(2, ["import-checkpoint", checkpoint, "--inputs", ORDER], "--output")


def test_unknown_execution(import_refused, checkpoint):
    import_refused(checkpoint, "--execution", more=("--execution", "tiles-47"))


def test_nothing_is_replaced(refused, checkpoint, out):
    (out / "model").mkdir()
    (out / "model" / "thesis.txt").write_text("years of work")
    arguments = ["import-checkpoint", checkpoint, "--output", out / "model", "--inputs", ORDER]
    refused(2, arguments, "not empty", "choose a new folder")
    (out / "file").write_text("")
    refused(2, [*arguments[:3], out / "file", *arguments[4:]], "choose a new folder")
    refused(2, [*arguments[:3], out / "file" / "model", *arguments[4:]])
    assert (out / "model" / "thesis.txt").read_text() == "years of work"
    assert sorted(item.name for item in out.iterdir()) == ["file", "model"]


def test_disk_that_fails_half_way_leaves_nothing(import_refused, checkpoint, monkeypatch):
    def fail(folder, *_):
        (folder / "weights.npz").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_import, "save_bundle", fail)
    import_refused(checkpoint, "The model")
