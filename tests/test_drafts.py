"""A drafted spec checks without a warning, trains, says why, and is never written over another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from models import ROOT
from own_data import CHEMISTRY, diabetes_csv, digits, digits_folder, load, wine_folder, wine_holes, write_csv

from graphvae.compiler.check import check
from graphvae.compiler.errors import DataError
from graphvae.compiler.spec import Spec
from graphvae.lab.drafts import draft
from graphvae.lab.profiles import profile
from graphvae.lab.sources import source_of
from graphvae.lab.training import train


def drafted(data: Path, folder: Path) -> Spec:
    """The draft for data: it has no warnings, its data loads, and it trains for an epoch of ten steps or not many more."""
    spec = folder / "drafted.yaml"
    spec.write_text(draft(data, spec))
    assert check(spec) == []
    load(spec)
    run = train(spec, ["training.epochs=1"], run=folder / "run")
    assert all(np.isfinite(value) for value in run.metrics()[0].values())
    checkpoint, training = run.checkpoint(), run.compile().spec.training
    assert checkpoint
    assert training.batch_size in (8, 16, 32, 64, 128)
    assert checkpoint.step >= 10 or training.batch_size == 8
    assert checkpoint.step <= 20 or training.batch_size == 128
    return run.compile().spec


@pytest.mark.parametrize(
    ("rows", "size", "steps"), [(20, 8, 2), (124, 8, 12), (200, 16, 10), (1599, 64, 20), (1600, 128, 10), (9000, 128, 56)]
)
def test_batches_fit_the_table(tmp_path: Path, rows: int, size: int, steps: int) -> None:
    """A fifth of the rows tests. Where there are no labels an epoch is a pass over the others."""
    np.savez(tmp_path / "numbers.npz", x=np.random.default_rng(0).normal(size=(rows, 2)))
    spec = tmp_path / "numbers.yaml"
    spec.write_text(draft(tmp_path / "numbers.npz", spec))
    checkpoint = train(spec, ["training.epochs=1"], run=tmp_path / "run").checkpoint()
    assert checkpoint
    assert (check(spec), checkpoint.step) == ([], steps)
    comment = "# batch_size: the largest power of two from 8 to 128 with which an epoch, a pass over the rows, has 10 steps"
    assert spec.read_text().endswith(f"{comment}\ntraining: {{epochs: 100, batch_size: {size}, learning_rate: 1e-3}}\n")


def test_wines_with_holes_and_few_labels(tmp_path: Path) -> None:
    wine_folder(tmp_path)
    spec = drafted(tmp_path / "wine.csv", tmp_path)
    assert spec.variables["cultivar"].model_dump(include={"distribution", "categories", "role"}) == {
        "distribution": "categorical",
        "categories": 3,
        "role": "supervised",
    }
    numbers = spec.variables["numbers"]
    assert (numbers.distribution, numbers.size, numbers.missing) == ("normal", 13, "mask")
    assert spec.data
    assert spec.data.path == "wine.csv"
    assert spec.data.columns == {"cultivar": "cultivar", "numbers": tuple(CHEMISTRY)}
    assert spec.data.categories == {"cultivar": ("barbera", "barolo", "grignolino")}
    assert spec.data.transforms == {"numbers": "standardise"}
    text = (tmp_path / "drafted.yaml").read_text()
    assert f"# empty in {wine_holes()[1].mean():.0%} of the rows, where it is inferred" in text
    assert text.count("#") > 6
    assert spec.training.batch_size == 16  # of 178 rows 80 % train, of which 66 % have no label: 11 steps, and 6 with 32
    assert "an epoch, a pass over the rows without a label, has 10 steps" in text


def test_diabetes_is_numbers_throughout(tmp_path: Path) -> None:
    spec = drafted(diabetes_csv(tmp_path), tmp_path)
    assert spec.data
    assert spec.data.columns["numbers"][-1] == "progression"  # whole numbers up to 346, far more spread than counts
    assert set(spec.variables) == {"numbers", "code"}
    assert not spec.data.labels


def test_digits_as_an_array(tmp_path: Path) -> None:
    images, labels = digits(200)
    np.savez(
        tmp_path / "digits.npz", image=images, digit=np.where(np.arange(200) % 2, labels, -1), flat=images.reshape(200, 64) / 3
    )
    spec = drafted(tmp_path / "digits.npz", tmp_path)
    assert spec.variables["image"].shape == (1, 8, 8)
    assert spec.variables["image"].distribution == "continuous_bernoulli"
    assert spec.variables["digit"].role == "supervised"
    assert spec.data
    assert spec.data.steps_of("image")[0].scale == (0.0, 255.0)  # type: ignore[union-attr]
    assert spec.variables["flat"].size == 64
    assert spec.data.steps_of("flat")[0].scale == (0.0, 80.0)  # type: ignore[union-attr]


def test_digits_as_pictures(tmp_path: Path) -> None:
    spec = drafted(digits_folder(tmp_path / "digits", 150, unlabelled=60), tmp_path)
    assert spec.variables["image"].shape == (1, 8, 8)
    assert spec.variables["label"].role == "supervised"
    assert spec.variables["label"].categories == 10
    assert spec.data
    assert (spec.data.source, spec.data.path) == ("images", "digits")


def test_pictures_with_a_table_and_in_one_heap(tmp_path: Path) -> None:
    digits_folder(tmp_path / "digits", 60, unlabelled=60)
    spec = drafted(tmp_path / "digits", tmp_path)
    assert set(spec.variables) == {"image", "code"}
    rows = [[f"{row:04d}.png", "left" if row % 3 else "right", str(row * 1.5)] for row in range(60)]
    write_csv(tmp_path / "digits" / "images.csv", ["file", "side", "angle"], rows)
    (tmp_path / "table").mkdir()
    spec = drafted(tmp_path / "digits", tmp_path / "table")
    assert spec.variables["side"].role == "supervised"
    assert spec.variables["angle"].role == "observed"
    assert spec.data
    assert spec.data.path == "../digits"


def test_a_parquet_file_with_every_kind_of_column(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    columns = {
        "vector": pyarrow.array(list(generator.normal(size=(100, 3)))),
        "visits": generator.poisson(15.0, 100),
        "children": np.arange(100) % 4,
        "no": [["yes", "no"][value] for value in generator.integers(0, 2, 100)],
        "smokes": generator.integers(0, 2, 100),
        "grade": generator.integers(1, 5, 100),
        "class": [["a, b", 'c "d"', "e: f", None, None][value] for value in generator.integers(0, 5, 100)],
        "größe": generator.normal(size=100),
        "income": np.where(generator.random(100) < 0.2, np.nan, generator.lognormal(10, 1, 100)),
        "constant": np.ones(100),
        "name": [f"person {row}" for row in range(100)],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "all.parquet")
    spec = drafted(tmp_path / "all.parquet", tmp_path)
    families = {name: variable.distribution for name, variable in spec.variables.items()}
    assert families["vector"] == "normal"
    assert families["visits"] == "poisson"
    assert families["children"] == "categorical"
    assert families["switches"] == "bernoulli"
    assert families["grade"] == "categorical"
    assert families["class_2"] == "categorical"
    assert spec.variables["class_2"].role == "supervised"
    assert spec.variables["numbers"].missing == "mask"
    assert spec.data
    assert spec.data.columns["switches"] == ("no", "smokes")
    assert spec.data.columns["numbers"] == ("größe", "income")
    assert spec.data.categories == {"grade": ("1", "2", "3", "4"), "class_2": ("a, b", 'c "d"', "e: f")}
    text = (tmp_path / "drafted.yaml").read_text()
    assert "# left out: constant, which does not vary in the training rows" in text
    assert "# left out: name, which has 100 different texts" in text


def kinds(folder: Path, **columns: object) -> dict[str, str]:
    np.savez(folder / "kinds.npz", **{name: np.asarray(column) for name, column in columns.items()})
    path = folder / "kinds.npz"
    found = profile(path, source_of(path))
    return {column.name: column.kind for column in found.columns} | dict(line.split(", ", 1) for line in found.left_out)


def test_what_columns_look_like(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    found = kinds(
        tmp_path,
        classes=generator.integers(0, 10, 100),
        eleven=np.arange(100) % 11,
        labels=np.where(np.arange(100) % 2, np.arange(100) % 4, -1),
        switch=np.arange(100) % 2 == 0,
        words=np.array(["Yes", "no"] * 50),
        counts=generator.poisson(20, 100) // 1 * (np.arange(100) > 0),
        spread=generator.negative_binomial(1, 0.05, 100),
        years=np.arange(100) + 1900,
        numbers=generator.normal(size=100),
        one=np.zeros(100),
        empty=np.full(100, np.nan),
        infinite=np.append(np.arange(99.0), np.inf),
        texts=np.array([f"t{row}" for row in range(100)]),
        complex=np.ones(100) * 1j,
        table=generator.normal(size=(100, 2)),
        column=generator.normal(size=(100, 1)),
    )
    assert found == {
        "classes": "categories",
        "eleven": "number",
        "labels": "categories",
        "switch": "switch",
        "words": "switch",
        "counts": "count",
        "spread": "number",
        "years": "number",
        "numbers": "number",
        "table": "array",
        "column": "number",
        "one": "which does not vary in the training rows",
        "empty": "which does not vary in the training rows",
        "infinite": "which has infinite numbers",
        "texts": "which has 100 different texts",
        "complex": "which holds complex128",
    }


def test_nothing_to_model_and_too_much_to_write(tmp_path: Path) -> None:
    write_csv(tmp_path / "ids.csv", ["id", "same"], [[f"p{row}", "1"] for row in range(30)])
    with pytest.raises(DataError, match=r"(?s)nothing in .*ids.csv is a number that varies.*left out: id, which has 30"):
        draft(tmp_path / "ids.csv")
    names = [f"measurement_number_{index}" for index in range(4000)]
    rows = np.random.default_rng(0).normal(size=(10, 4000)).round(3).astype(str).tolist()
    write_csv(tmp_path / "wide.csv", names, rows)
    with pytest.raises(DataError, match=r"(?s)wide.csv has more columns than fit into a spec of 65,536 bytes.*npz"):
        draft(tmp_path / "wide.csv")


def graphvae(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "graphvae", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def test_the_command_writes_a_new_file_or_to_the_terminal(tmp_path: Path) -> None:
    wine_folder(tmp_path).unlink()
    printed = graphvae("init", "wine.csv", folder=tmp_path)
    assert printed.stdout == draft(tmp_path / "wine.csv", tmp_path / "any.yaml")
    made = graphvae("init", "wine.csv", "-o", "wine.yaml", folder=tmp_path)
    assert made.stdout == "wine.yaml: now graphvae check wine.yaml && graphvae train wine.yaml\n"
    assert graphvae("check", "wine.yaml", folder=tmp_path).returncode == 0
    before = (tmp_path / "wine.yaml").read_text()
    again = graphvae("init", "wine.csv", "-o", "wine.yaml", folder=tmp_path)
    assert again.returncode == 2
    assert again.stderr == "error[GV501]: wine.yaml exists\n  choose another name\n"
    assert (tmp_path / "wine.yaml").read_text() == before
    missing = graphvae("init", "vine.csv", folder=tmp_path)
    assert missing.returncode == 2
    assert "there is no file vine.csv" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_drafting_loads_no_torch(tmp_path: Path) -> None:
    wine_folder(tmp_path)
    code = "import sys; from graphvae.lab.drafts import *; draft(Path(sys.argv[1])); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, tmp_path / "wine.csv"], check=True, cwd=ROOT)
