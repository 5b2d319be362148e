"""The anatomy packs that the generator's tests need, made once from ../shared/data where they are missing."""

import pytest
from pelvis_packs import PACK_NAMES, PACKS


@pytest.fixture(scope="session")
def packs() -> None:
    missing = [name for name in PACK_NAMES if not (PACKS / f"{name}.npz").exists()]
    if missing:
        from pelvis_anatomies import make_packs  # with SimpleITK, which the generator does not need
        from pelvis_resampling import DATA

        if not DATA.is_dir():
            pytest.skip(f"no pelvis data in {DATA}")
        make_packs(PACKS, missing)
