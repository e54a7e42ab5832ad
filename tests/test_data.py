"""Columns become tensors: bound, shaped, checked, split, and without the labels that nobody drew."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from graphvae.compiler.errors import DataError
from graphvae.compiler.pipeline import Compilation, compile_file
from graphvae.lab.data import Dataset, load_data
from graphvae.lab.mnist import MNIST_FILES
from graphvae.lab.models import model_class, new_model

SHARED = Path(os.environ.get("GRAPHVAE_DATA", Path(__file__).parents[2] / "shared" / "data" / "mnist"))
needs_mnist = pytest.mark.skipif(not SHARED.is_dir(), reason="MNIST is downloaded only by people who train on it")


def compiled(*settings: str) -> Compilation:
    return compile_file("specs/digits.yaml", settings)


def load(*settings: str, folder: Path | None = None) -> Dataset:
    compilation = compiled(*settings)
    return load_data(compilation.graph, model_class(compilation).variables, folder)


def test_digits_are_split_and_their_labels_are_counted() -> None:
    dataset = load()
    assert (dataset.rows, len(dataset.test["digit"])) == (1438, 359)
    assert dataset.budget() == ["50 of 1,438 rows reveal digit"]
    assert (dataset.train["digit"] >= 0).sum() == 50
    assert (dataset.train["digit"] == -1).sum() == 1388
    assert dataset.labelled == tuple((dataset.train["digit"] >= 0).nonzero().flatten().tolist())
    assert dataset.train["image"].shape == (1438, 1, 8, 8)
    assert (dataset.test["digit"] >= 0).all()


def test_validation_rows_leave_the_training_and_are_counted() -> None:
    dataset = load("data.validation={rows: 100, labels: true}")
    assert dataset.rows == 1338
    assert dataset.budget()[1] == "100 further rows, with all their labels, are set aside for validation"
    assert dataset.validation is not None
    assert (dataset.validation["digit"] >= 0).all()


def test_no_labels_and_all_labels() -> None:
    none, all_rows = load("data.labels={}"), load("data.labels={digit: {fraction: 1.0}}")
    assert none.budget() == ["0 of 1,438 rows reveal digit"]
    assert none.labelled == ()
    assert len(all_rows.labelled) == 1438


def test_a_label_that_leaks_is_nan_and_no_better_number() -> None:
    compilation = compiled()
    dataset, model = load(), new_model(compilation)
    hidden = {name: value[dataset.train["digit"] < 0][:8] for name, value in dataset.train.items()}
    evidence = model.variables["digit"].family.encode(hidden["digit"], (10,), torch.float32)
    assert evidence.isnan().all()
    block = model.block(hidden, 1, torch.Generator().manual_seed(0))
    leaked = block._replace(evidence={**block.evidence, "digit": block.evidence["image"]._replace(value=evidence)})
    assert model.estimate(leaked, model.knobs())[1].bound.isnan().all()
    assert model.estimate(block, model.knobs())[1].bound.isfinite().all()


def test_grey_pixels_under_a_bernoulli_are_refused_with_three_ways_out() -> None:
    with pytest.raises(DataError) as error:
        load("variables.image.soft=false")
    message = str(error.value)
    assert message.startswith("specs/digits.yaml:20:")
    assert "'image' is 0.3125 in row 0, outside the support of Bernoulli (binary)" in message
    assert all(way in message for way in ("soft: true", "continuous_bernoulli", "data.transforms: {image: binarise}"))
    assert load("variables.image={distribution: continuous_bernoulli, shape: [1, 8, 8], role: observed}").rows == 1438


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.columns.image=picture", "digits has no column 'picture'"),
        ("variables.image.shape=[1, 8, 9]", "'image' has the shape [1, 8, 9], and the column 'image' the shape [8, 8]"),
        ("variables.digit.categories=9", "'digit' is 9 in row"),
        ("data.labels.digit.rows=5000", "5,000 labelled rows are asked for, and there are 1,438"),
        ("data.validation={rows: 2000, labels: true}", "2,000 rows are to be set aside, and there are 1,438"),
        ("data.columns={image: image, digit: image}", "'digit' has the shape [], and the column 'image' the shape [8, 8]"),
    ],
)
def test_data_that_does_not_fit_is_an_error(setting: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        load(setting)
    assert message in str(error.value)


def test_a_spec_without_data_cannot_be_loaded() -> None:
    compilation = compile_file("tests/specs/everything.yaml")
    with pytest.raises(DataError, match="the spec has no data to train on"):
        load_data(compilation.graph, model_class(compilation).variables)


def mnist(folder: Path) -> Dataset:
    compilation = compile_file("specs/mnist.yaml")
    return load_data(compilation.graph, model_class(compilation).variables, folder)


@needs_mnist
def test_mnist_is_read_from_a_folder() -> None:
    dataset = mnist(SHARED)
    assert dataset.budget() == ["100 of 60,000 rows reveal digit"]
    assert dataset.test["digit"].bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    revealed = dataset.train["digit"][list(dataset.labelled)]
    assert revealed.bincount().tolist() == [10] * 10
    assert dataset.train["image"].amax() == 1


def test_a_folder_without_the_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no train-images-idx3-ubyte.gz in"):
        mnist(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"something else"), "its content has another checksum"),
        (gzip.compress(b"cut short" * 100)[:-20], "cannot read"),
        (b"not compressed", "cannot read"),
    ],
)
def test_a_file_that_is_not_mnist_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    for name in MNIST_FILES:
        (tmp_path / f"{name}.gz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        mnist(tmp_path)


def test_a_download_that_fails_says_where_else_the_data_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    def fail(*args: object, **kwargs: object) -> str:
        raise OSError("no network")

    monkeypatch.delenv("GRAPHVAE_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", fail)
    compilation = compile_file("specs/mnist.yaml")
    with pytest.raises(DataError, match=r"(?s)cannot download train-images.*no network.*GRAPHVAE_DATA"):
        load_data(compilation.graph, model_class(compilation).variables)


WINE = "specs/wine.yaml"


def load_npz(path: Path | None, *settings: str) -> Dataset:
    compilation = compile_file(WINE, settings)
    return load_data(compilation.graph, model_class(compilation).variables, path)


def npz(folder: Path, **columns: object) -> Path:
    np.savez(folder / "wine.npz", **columns)
    return folder / "wine.npz"


def wines(rows: int = 40) -> dict[str, np.ndarray]:
    chemistry = np.random.default_rng(0).normal(size=(rows, 13))
    chemistry[::3, 2] = np.nan
    return {"cultivar": np.arange(rows) % 3, "chemistry": chemistry}


def test_an_npz_file_is_a_table_that_may_have_holes(tmp_path: Path) -> None:
    dataset = load_npz(npz(tmp_path, **wines()))
    assert (dataset.rows, len(dataset.test["cultivar"])) == (28, 12)
    assert dataset.budget() == ["15 of 28 rows reveal cultivar"]
    holes = dataset.train["chemistry"].isnan().sum() + dataset.test["chemistry"].isnan().sum()
    assert holes == 14
    assert dataset.train["chemistry"].dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "setting", "message"),
    [
        ({}, "variables.chemistry={distribution: normal, size: 13, role: observed}", "'chemistry' is missing in row 0"),
        ({"chemistry": np.zeros((39, 13))}, "", "should have equally many rows: cultivar 40, chemistry 39"),
        ({"chemistry": np.full((40, 13), "a")}, "", "'chemistry' should be numbers, and column 'chemistry' is 'a' in row 0"),
        (
            {"chemistry": np.full((40, 13), 1j)},
            "",
            "'chemistry' should be numbers, and the column 'chemistry' holds complex128",
        ),
        ({"cultivar": np.arange(40) / 3}, "", "'cultivar' is categorical, and is 0.333333 in row 1"),
        ({"cultivar": np.arange(40)}, "", "there are 3 categories, from 0"),
        ({"chemistry": np.array([None] * 40)}, "", "cannot read"),
    ],
)
def test_an_npz_file_that_does_not_fit_is_an_error(
    tmp_path: Path, change: dict[str, np.ndarray], setting: str, message: str
) -> None:
    with pytest.raises(DataError) as error:
        load_npz(npz(tmp_path, **wines() | change), *([setting] if setting else []))
    assert message in str(error.value)
    assert str(error.value).startswith("specs/wine.yaml:")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x93NUMPY"])
def test_a_file_that_is_no_npz_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wine.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot read"):
        load_npz(tmp_path / "wine.npz")
    with pytest.raises(DataError, match="there is no file"):
        load_npz(tmp_path / "other.npz")
    with pytest.raises(DataError, match="the source npz needs its file"):
        load_npz(None)


def test_a_single_array_is_no_table(tmp_path: Path) -> None:
    np.save(tmp_path / "wine.npy", np.zeros(3))
    with pytest.raises(DataError, match="cannot read"):
        load_npz(tmp_path / "wine.npy")
