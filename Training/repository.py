"""Where the repository lies. Importing this makes `afnet` importable: programs that need it do so first."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

sys.path.insert(0, str(REPOSITORY / "AutofocusSegmentation"))
