"""Fixtures of the Slicer side's tests: the bundled manifests, and child processes."""

import pytest

from afnet.models.manifest import find_model


@pytest.fixture(scope="session")
def brain():
    return find_model("brain-tumour-mri")


@pytest.fixture(scope="session")
def pelvis():
    return find_model("pelvis-ct")


@pytest.fixture
def start(tmp_path):
    """`start(body)` starts a child script as an engine; what still runs at the end of the test is cancelled."""
    from fake_engine import DIRECT, finish, write_program

    from AutofocusSegmentationLib.engine.child import ChildProcess
    from AutofocusSegmentationLib.engine.request import SegmentRequest

    engines = []

    def start_engine(body: str, python=DIRECT, request=None, **options) -> ChildProcess:
        job = tmp_path / "job"
        job.mkdir(exist_ok=True)
        engine = ChildProcess(python, write_program(tmp_path / "program", body), **options)
        engines.append(engine)
        engine.start(request or SegmentRequest("pelvis-ct", {"ct": "ct.nrrd"}), job)
        return engine

    yield start_engine
    for engine in engines:
        engine.cancel()
        finish(engine, 10)
