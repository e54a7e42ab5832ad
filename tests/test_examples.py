"""Every example runs, at a size that proves that it does."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import graphvae

ROOT = Path(__file__).parents[1]
OF_A_RUN = {"scenes": ("multi_mnist", "multi_mnist_plain"), "relit": ("faces", "faces_intrinsic")}
EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.py")) if path.stem not in OF_A_RUN]


def draws(example: Path, arguments: Sequence[str], folder: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    command = [sys.executable, str(example), *arguments, "--output", str(folder / "out.png")]
    subprocess.run(command, check=True, cwd=folder, env=environment)
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    draws(example, ["--epochs", "1"], tmp_path)


@pytest.mark.parametrize(("example", "spec"), [(example, spec) for example, specs in OF_A_RUN.items() for spec in specs])
def test_an_example_draws_a_run(example: str, spec: str, tmp_path: Path) -> None:
    data = scenes(tmp_path) if example == "scenes" else faces(tmp_path)
    settings = ["training.epochs=1", *data[1]]
    graphvae.train(ROOT / "specs" / f"{spec}.yaml", settings, data[0], tmp_path / "run")
    draws(ROOT / "examples" / f"{example}.py", [str(tmp_path / "run")], tmp_path)


def scenes(folder: Path) -> tuple[Path, list[str]]:
    """Grey canvases, as an own file and with the settings that read it: the digits of MNIST are downloaded by nobody here."""
    generator = np.random.default_rng(0)
    path = folder / "scenes.npz"
    np.savez(path, canvas=generator.random((40, 50, 50), np.float32), count=np.arange(40) % 3 + 1)
    data = "data={source: npz, columns: {canvas: canvas, count: count}, labels: {count: {rows: 9}}, split: {test: 0.5}}"
    return path, [data]


def faces(folder: Path) -> tuple[Path, list[str]]:
    """Three people under twelve lights each."""
    names = [f"yaleB{person:02}_P00A+{10 * light:03}E+00.pgm" for person in (1, 2, 3) for light in range(12)]
    images = np.random.default_rng(0).integers(0, 256, (len(names), 48, 42), np.uint8)
    path = folder / "faces.npz"
    np.savez(path, images=images, filename=np.array(names))
    return path, ["variables.person.categories=3"]
