"""Fixtures of the Slicer side's tests: the bundled manifests."""

import pytest

from afnet.manifest import find_model


@pytest.fixture(scope="session")
def brain():
    return find_model("brain-tumour-mri")


@pytest.fixture(scope="session")
def pelvis():
    return find_model("pelvis-ct")
