"""Pages of the documentation that are printed from the code say what the code says."""

import subprocess
import sys

from models import ROOT

from graphvae.compiler.families import FAMILIES


def test_the_page_of_families_is_the_table() -> None:
    printed = subprocess.run([sys.executable, ROOT / "docs" / "families.py"], capture_output=True, text=True, check=True).stdout
    assert printed == (ROOT / "docs" / "families.md").read_text("utf-8"), "python docs/families.py > docs/families.md"
    assert all(f"`{name}`" in printed for name in FAMILIES)
