"""Examples in docstrings run where a person would run them: in a folder of their own, with the specs that they name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent


@pytest.fixture(autouse=True)
def beside_the_specs(request: pytest.FixtureRequest) -> None:
    """What an example writes, such as runs, goes to a folder that is thrown away."""
    if isinstance(request.node, pytest.DoctestItem):
        folder = request.getfixturevalue("tmp_path")
        for specs in ("specs", "tests/specs"):
            shutil.copytree(ROOT / specs, folder / specs)
        request.getfixturevalue("monkeypatch").chdir(folder)
