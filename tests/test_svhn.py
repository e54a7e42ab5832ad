"""The cropped digits of house numbers: from .mat files like the original ones, and from an npz file; these tests write both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.io import savemat

from graphvae.compiler.errors import DataError
from graphvae.compiler.pipeline import compile_file
from graphvae.lab.data import Dataset, load_data
from graphvae.lab.models import model_class
from graphvae.lab.sources import Rows, read_source

SHARED = Path(__file__).parents[2] / "shared" / "data" / "svhn" / "svhn_test_first10000.npz"
needs_svhn = pytest.mark.skipif(not SHARED.is_file(), reason="SVHN is there only for people who asked for it")


def read(path: Path | None) -> Rows:
    return read_source("svhn", path, None, None)


def refusal(path: Path | None) -> str:
    with pytest.raises(DataError) as error:
        read(path)
    return str(error.value)


def pixels(rows: int, seed: int) -> np.ndarray:
    """Bytes [row, 32, 32, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (rows, 32, 32, 3), np.uint8)


def write_mat(path: Path, images: np.ndarray, labels: list[int], **more: object) -> Path:
    """X is [32, 32, 3, row] and y is [row, 1], from 1 to 10."""
    savemat(path, {"X": np.moveaxis(images, 0, -1), "y": np.array(labels, np.uint8)[:, None]} | more)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_mat(tmp_path / "train_32x32.mat", pixels(3, 0), [1, 10, 9])
    write_mat(tmp_path / "test_32x32.mat", pixels(2, 1), [10, 4])
    return tmp_path


def test_the_two_files_keep_their_parts(folder: Path) -> None:
    rows = read(folder)
    assert list(rows.columns) == ["image", "label"]
    assert rows.columns["label"].tolist() == [1, 0, 9, 0, 4]
    assert rows.test.tolist() == [3, 4]
    assert rows.columns["image"].dtype == np.float32


def test_an_image_is_planes_of_colours_upright(folder: Path) -> None:
    image = np.rint(read(folder).columns["image"] * 255)
    written = np.concatenate([pixels(3, 0), pixels(2, 1)])
    assert image.shape == (5, 3, 32, 32)
    for row, down, across, colour in ((0, 0, 0, 0), (2, 31, 4, 2), (4, 7, 30, 1)):
        assert image[row, colour, down, across] == written[row, down, across, colour]
    assert_array_equal(image, written.transpose(0, 3, 1, 2))


def test_one_mat_file_is_for_the_spec_to_split(folder: Path) -> None:
    rows = read(folder / "test_32x32.mat")
    assert (rows.columns["label"].tolist(), rows.test) == ([0, 4], None)


def test_an_npz_file_counts_its_labels_from_zero(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", images=pixels(3, 5), label=np.array([0, 9, 3]), test_index=np.arange(3))
    rows = read(tmp_path / "some.npz")
    assert_array_equal(np.rint(rows.columns["image"] * 255), pixels(3, 5).transpose(0, 3, 1, 2))
    assert (rows.columns["label"].tolist(), rows.test) == ([0, 9, 3], None)


def test_what_is_missing(folder: Path) -> None:
    (folder / "test_32x32.mat").unlink()
    assert "there is no file" in refusal(folder)
    assert "test_32x32.mat" in refusal(folder)
    assert "there is no file" in refusal(folder / "other.mat")
    assert "there is no file" in refusal(folder / "other.npz")


@pytest.mark.parametrize("kept", [0, 50, 200, 5000])
def test_a_mat_file_that_is_cut_short_is_refused(folder: Path, kept: int) -> None:
    file = folder / "train_32x32.mat"
    file.write_bytes(file.read_bytes()[:kept])
    assert f"cannot read {file}" in refusal(folder)


def test_a_file_that_is_no_mat_file_is_refused(folder: Path) -> None:
    (folder / "train_32x32.mat").write_text("<html>not found</html>" * 20)
    assert "cannot read" in refusal(folder)


def test_a_mat_file_of_something_else_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"images": np.zeros(3)})
    assert "should have the arrays 'X' and 'y'" in refusal(tmp_path / "a.mat")
    savemat(tmp_path / "b.mat", {"X": "picture", "y": "label"})
    assert "should be bytes [row, height, width, 3], and are <U7 [1]" in refusal(tmp_path / "b.mat")
    assert "there are no rows in" in refusal(write_mat(tmp_path / "c.mat", pixels(0, 0), []))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (pixels(2, 0).astype(float), [1, 2], "should be bytes [row, height, width, 3], and are float64 [2, 32, 32, 3]"),
        (pixels(2, 0)[..., :1], [1, 2], "and are uint8 [2, 32, 32, 1]"),
        (pixels(2, 0), [1, 2, 3], "should have a label for each of its 2 images, and they are [3]"),
        (pixels(2, 0), [0, 1], "should be whole numbers from 1 to 10"),
        (pixels(2, 0), [1, 11], "should be whole numbers from 1 to 10"),
    ],
)
def test_mat_files_of_other_types_are_refused(tmp_path: Path, images: np.ndarray, labels: list[int], message: str) -> None:
    assert message in refusal(write_mat(tmp_path / "a.mat", images, labels))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"images": pixels(2, 0)}, "should have the arrays 'images' and 'label'"),
        ({"images": pixels(2, 0), "label": [0, 10]}, "should be whole numbers from 0 to 9"),
        ({"images": pixels(2, 0), "label": [0.5, 1]}, "should be whole numbers from 0 to 9"),
        ({"images": pixels(2, 0), "label": ["one", "two"]}, "should be whole numbers from 0 to 9"),
        ({"images": pixels(2, 0), "label": [1, 2, 3]}, "equally many rows"),
        ({"images": pixels(2, 0) / 255, "label": [1, 2]}, "and are float64 [2, 32, 32, 3]"),
        ({"images": pixels(2, 0)[:0], "label": []}, "there are no rows in"),
    ],
)
def test_an_npz_file_of_something_else_is_refused(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    np.savez(tmp_path / "a.npz", **columns)
    assert message in refusal(tmp_path / "a.npz")


def test_parts_of_different_sizes_are_refused(folder: Path) -> None:
    write_mat(folder / "test_32x32.mat", pixels(2, 1)[:, :16], [1, 2])
    assert "are [row, 32, 32, 3] and [row, 16, 32, 3]" in refusal(folder)


def test_the_files_are_downloaded_and_their_content_is_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    asked = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path) -> str:
        asked.append((url.rsplit("/", 1)[-1], known_hash))
        return str(folder / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert read(None).columns["label"].tolist() == [1, 0, 9, 0, 4]
    assert asked == [
        ("train_32x32.mat", "md5:e26dedcc434d2e4c54c9b2d4a06d8373"),
        ("test_32x32.mat", "md5:eb5a983be6a315427106f1b164d9cef3"),
    ]


def test_a_download_that_fails_says_where_else_the_data_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    def fail(*args: object, **kwargs: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr(pooch, "retrieve", fail)
    message = refusal(None)
    assert "cannot download train_32x32.mat: no network" in message
    assert "pass --data an .npz or a .mat file" in message


def load_svhn(path: Path) -> Dataset:
    compilation = compile_file("specs/svhn.yaml", ["data.labels.digit.rows=20"])
    return load_data(compilation.graph, model_class(compilation).variables, path)


def test_the_spec_takes_the_parts_of_the_files_or_its_own_blocks(tmp_path: Path) -> None:
    """Its likelihood takes every byte, and no row of one block is in the other."""
    labels, images = [digit % 10 + 1 for digit in range(60)], pixels(60, 0)
    write_mat(tmp_path / "train_32x32.mat", images[:50], labels[:50])
    write_mat(tmp_path / "test_32x32.mat", images[50:], labels[50:])
    found = load_svhn(tmp_path)
    assert (found.rows, len(found.test["digit"]), found.revealed) == (50, 10, {"digit": 20})

    number = np.arange(10_000)
    small = np.tile(np.stack([number // 256, number % 256, 0 * number], 1).astype(np.uint8)[:, None, None], (1, 32, 32, 1))
    np.savez(tmp_path / "some.npz", images=small, label=number % 10)
    found = load_svhn(tmp_path / "some.npz")
    for table, rows in ((found.train, number[:8000]), (found.test, number[8000:])):
        high, low = np.rint(table["image"][:, :2, 0, 0].numpy() * 255).T
        assert_array_equal(256 * high + low, rows)


@needs_svhn
def test_the_digits_themselves() -> None:
    columns = read(SHARED).columns
    with np.load(SHARED) as file:
        assert_array_equal(np.rint(columns["image"][::100] * 255), file["images"][::100].transpose(0, 3, 1, 2))
        assert_array_equal(columns["label"], file["label"])
