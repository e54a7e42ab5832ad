"""Every notebook runs from top to bottom, at a size that proves that it does, and is kept without its outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from models import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))

# In a process of its own: Jupyter's libraries warn of each other, and here a warning is an error.
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def cells(notebook: Path) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    for needed in ("nbclient", "ipykernel"):
        pytest.importorskip(needed, reason=f"{needed} is not installed: pip install -e '.[test]'")
    environment = os.environ | {
        "GRAPHVAE_EPOCHS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "TMPDIR": str(tmp_path),
    }
    done = tmp_path / "done.ipynb"
    run = subprocess.run(
        [sys.executable, "-c", RUN, notebook, done], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    made = [output for cell in cells(done) for output in cell["outputs"]]
    kinds = {kind for output in made for kind in output.get("data", {})}
    pages = ["".join(output.get("data", {}).get(kind, "")) for output in made for kind in ("image/svg+xml", "text/html")]
    assert "image/png" in kinds, "a notebook draws its results"
    assert any("<svg" in page for page in pages), "and its model"
    assert [output["text"] for output in made if output.get("name") == "stderr"] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(notebook: Path) -> None:
    assert [(cell["outputs"], cell["execution_count"]) for cell in cells(notebook)] == [([], None)] * len(cells(notebook))
