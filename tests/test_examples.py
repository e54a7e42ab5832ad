"""Every example runs, at a size that proves that it does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    command = [sys.executable, str(example), "--epochs", "1", "--output", str(tmp_path / "out.png")]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
