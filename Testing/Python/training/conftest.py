"""The anatomy packs that the generator's tests need, made once from ../shared/data where they are missing."""

import pytest
from pelvis_scans.packs import PACKS


@pytest.fixture(scope="session")
def packs() -> None:
    from pelvis_anatomies import PACKERS, make_packs  # with SimpleITK, which the generator does not need
    from pelvis_resampling import DATA

    missing = [name for name in PACKERS if not (PACKS / f"{name}.npz").exists()]
    if missing:
        if not DATA.is_dir():
            pytest.skip(f"no pelvis data in {DATA}")
        make_packs(PACKS, missing)
