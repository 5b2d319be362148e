"""Studies and models that several engine tests share, made once."""

import shutil

import pytest
from finetuning_studies import write_base
from phantoms import ct_image, mr_images, write_images
from tiny_model import COARSE, tiny_bundle

from afnet.cli import run


@pytest.fixture(scope="session")
def ct_file(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("ct"), {"ct": ct_image(spacing=4.0)})["ct"]


@pytest.fixture(scope="session")
def mr_files(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("mr"), mr_images(spacing=4.0), ".nii.gz")


@pytest.fixture(scope="session")
def tiny_pelvis(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("tiny-pelvis"), "pelvis-ct", grid=COARSE)


@pytest.fixture(scope="session")
def tiny_brain(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("tiny-brain"), "brain-tumour-mri", grid=COARSE)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """The model that fine-tunings begin with; none changes it."""
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def our_pelvis(tmp_path_factory):
    """The folder of a model of the user's, to be copied."""
    return tiny_bundle(tmp_path_factory.mktemp("made"), "pelvis-ct", id="our-pelvis").folder


@pytest.fixture
def home(tmp_path, our_pelvis):
    """A user's models folder with one model, `our-pelvis`."""
    shutil.copytree(our_pelvis, tmp_path / "models" / "our-pelvis")
    return tmp_path / "models"


@pytest.fixture
def out(tmp_path):
    """An empty folder for outputs; nothing else may appear in it."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def refused(capfd):
    """`refused(code, arguments, *words)`: that exit code, and one sentence on stderr with the words; returns it."""

    def check(code: int, arguments, *words: str) -> str:
        capfd.readouterr()
        assert run([str(argument) for argument in arguments]) == code
        text = capfd.readouterr().err
        assert text.endswith("\n") and text.count("\n") == 1, text
        assert "Traceback" not in text and "unexpected" not in text
        for word in words:
            assert word in text
        assert text.strip().endswith((".", "--help'."))
        return text.strip()

    return check
