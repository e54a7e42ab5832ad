"""A person's own data, as files: scikit-learn's wines, diabetes and digits, with and without holes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_diabetes, load_digits, load_wine

from graphvae.compiler.pipeline import compile_file
from graphvae.lab.data import Dataset, load_data
from graphvae.lab.models import model_class
from graphvae.lab.transforms import Coding

CULTIVARS = ["barolo", "grignolino", "barbera"]
CHEMISTRY = [name.replace("/", "_") for name in load_wine().feature_names]

WINE = f"""
model: wine
variables:
  cultivar: {{distribution: categorical, categories: 3, role: supervised}}
  taste: {{distribution: normal, size: 2}}
  chemistry: {{distribution: normal, size: 13, role: observed, missing: mask}}
p:
  chemistry: {{parents: [cultivar, taste], network: {{hidden: [8]}}, parameters: {{scale: learned}}}}
q:
  cultivar: {{parents: [chemistry], network: {{hidden: [8]}}}}
  taste: {{parents: [chemistry, cultivar], network: {{hidden: [8]}}}}
data:
  source: csv
  path: wine.csv
  columns:
    cultivar: cultivar
    chemistry: [{", ".join(CHEMISTRY)}]
  transforms: {{chemistry: standardise}}
training: {{epochs: 2, batch_size: 64}}
"""


def wines() -> tuple[np.ndarray, np.ndarray]:
    """The chemistry [178, 13] and the cultivars [178] of scikit-learn's wines."""
    chemistry, cultivar = load_wine(return_X_y=True)
    return chemistry, cultivar


def wine_holes() -> tuple[np.ndarray, np.ndarray]:
    """Which cells of the chemistry are empty, and which labels."""
    generator = np.random.default_rng(0)
    return generator.random((178, 13)) < 0.1, generator.random(178) < 0.7


def wine_rows() -> list[list[str]]:
    """The cells of wine.csv below its header, the cultivar first."""
    chemistry, cultivar = wines()
    cells, labels = wine_holes()
    return [
        ["" if labels[row] else CULTIVARS[cultivar[row]]]
        + ["" if empty else repr(float(value)) for value, empty in zip(chemistry[row], cells[row], strict=True)]
        for row in range(len(cultivar))
    ]


def write_csv(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return path


def wine_folder(folder: Path) -> Path:
    """A folder with wine.csv and a spec for it, wine.yaml."""
    write_csv(folder / "wine.csv", ["cultivar", *CHEMISTRY], wine_rows())
    (folder / "wine.yaml").write_text(WINE)
    return folder / "wine.yaml"


def diabetes_csv(folder: Path) -> Path:
    """Ten standardised measurements, and the disease's progression a year later."""
    measured, progression = load_diabetes(return_X_y=True)
    header = [*load_diabetes().feature_names, "progression"]
    rows = [[*map(repr, map(float, row)), f"{target:.0f}"] for row, target in zip(measured, progression, strict=True)]
    return write_csv(folder / "diabetes.csv", header, rows)


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first digits, as bytes [row, 8, 8], and which they are."""
    images, labels = load_digits(return_X_y=True)
    return (images[:count] * 15).astype(np.uint8).reshape(-1, 8, 8), labels[:count]


def digits_folder(folder: Path, count: int, unlabelled: int = 0) -> Path:
    """Digits as pictures in a folder for each, the first of them in none."""
    for row, (image, label) in enumerate(zip(*digits(count), strict=True)):
        place = folder if row < unlabelled else folder / f"digit{label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{row:04d}.png")
    return folder


def load(spec: Path, *settings: str, path: Path | None = None, coding: Coding | None = None) -> Dataset:
    """The dataset of a spec's file."""
    compilation = compile_file(spec, settings)
    return load_data(compilation.graph, model_class(compilation).variables, path, coding)
