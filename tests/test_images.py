"""Folders of pictures as columns: pixels as they are, classes by folder or by table, or one message that names the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from own_data import digits, digits_folder
from PIL import Image

from graphvae.compiler.errors import DataError
from graphvae.lab import sources
from graphvae.lab.sources import Rows, Want, read_source

GENERATOR = np.random.default_rng(0)
GRAY = GENERATOR.integers(0, 256, (4, 5), dtype=np.uint8)
COLOUR = GENERATOR.integers(0, 256, (4, 5, 3), dtype=np.uint8)


def read(folder: Path, *event: int) -> Rows:
    return read_source("images", folder, {"image": Want(event=event or None), "label": Want(named=True)}, None)


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)


def test_real_digits_are_read_as_they_are(tmp_path: Path) -> None:
    rows = read(digits_folder(tmp_path, 40, unlabelled=5), 1, 8, 8)
    images, labels = digits(40)
    order = [int(rows.place(row).split("/")[-1].removesuffix(".png")) for row in range(40)]
    np.testing.assert_array_equal(rows.columns["image"], (images[order] / np.float32(255))[:, None])
    expected = ["" if row < 5 else f"digit{labels[row]}" for row in order]
    assert rows.columns["label"].tolist() == expected
    assert order == sorted(order, key=lambda row: ("" if row < 5 else f"digit{labels[row]}/") + f"{row:04d}.png")


def test_colours_come_first_and_become_gray_where_the_shape_is_gray(tmp_path: Path) -> None:
    save(tmp_path / "a.png", COLOUR)
    np.testing.assert_array_equal(read(tmp_path, 3, 4, 5).columns["image"][0], np.moveaxis(COLOUR, 2, 0) / np.float32(255))
    # ITU-R 601-2: the luma that pillow computes in whole numbers
    luma = (COLOUR @ np.array([19595, 38470, 7471]) + 0x8000) >> 16
    np.testing.assert_array_equal(read(tmp_path, 4, 5).columns["image"][0], luma.astype(np.float32) / 255)
    save(tmp_path / "a.png", GRAY)
    np.testing.assert_array_equal(read(tmp_path, 3, 4, 5).columns["image"][0], np.stack([GRAY] * 3) / np.float32(255))


def test_without_a_shape_the_first_picture_decides(tmp_path: Path) -> None:
    save(tmp_path / "a.png", COLOUR)
    save(tmp_path / "b.png", GRAY)
    assert read_source("images", tmp_path, None, None).columns["image"].shape == (2, 3, 4, 5)


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "png", "PNG"])
def test_the_endings_of_pictures(tmp_path: Path, ending: str) -> None:
    save(tmp_path / f"a.{ending}", np.full((4, 5), 128, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    save(tmp_path / ".hidden.png", GRAY)
    np.testing.assert_allclose(read(tmp_path, 4, 5).columns["image"], 128 / 255, atol=1.5 / 255)


def test_one_bit_and_palettes_are_pictures_too(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.where(GRAY > 127, 255, 0).astype(np.uint8), "1")
    save(tmp_path / "b.png", GRAY, "P")
    found = read(tmp_path, 4, 5).columns["image"]
    np.testing.assert_array_equal(found[0], GRAY > 127)
    np.testing.assert_array_equal(found[1], GRAY / np.float32(255))


def test_a_table_says_which_pictures_there_are(tmp_path: Path) -> None:
    for name in ("z/one.png", "two.png", "unused.png"):
        save(tmp_path / name, GRAY)
    (tmp_path / "images.csv").write_text("age,file,label\n3,two.png,x\n,z/one.png,\n")
    rows = read_source("images", tmp_path, {"image": Want(event=(4, 5)), "label": Want(named=True), "age": Want()}, None)
    assert [rows.place(row) for row in range(2)] == ["two.png", "z/one.png"]
    assert rows.columns["label"].tolist() == ["x", ""]
    np.testing.assert_array_equal(rows.columns["age"], [3, np.nan])
    assert set(rows.names) == {"image", "age", "file", "label"}


def bad(folder: Path, name: str) -> None:
    save(folder / "a.png", GRAY)
    path = folder / "b.png"
    if name == "odd":
        save(path, GRAY[:, :-1])
    elif name == "truncated":
        save(path, GENERATOR.integers(0, 256, (4, 5), dtype=np.uint8))
        path.write_bytes(path.read_bytes()[:-25])
    elif name == "no picture":
        path.write_bytes(b"\x89PNG and nothing else")
    elif name == "empty":
        path.write_bytes(b"")
    elif name == "sixteen bits":
        save(path, GRAY.astype(np.uint16) * 200)
    elif name == "transparent":
        save(path, np.dstack([COLOUR, GRAY]))
    elif name == "deep":
        save(folder / "x" / "y" / "c.png", GRAY)
    elif name == "no such file":
        (folder / "images.csv").write_text("file\na.png\nc.png\n")
    elif name == "unnamed":
        (folder / "images.csv").write_text("file,label\na.png,x\n,y\n")
    elif name == "no column":
        (folder / "images.csv").write_text("name,label\na.png,x\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("odd", "b.png has 4 x 4 pixels, and not 4 x 5 pixels"),
        ("truncated", "b.png"),
        ("no picture", "cannot read the picture"),
        ("empty", "cannot read the picture"),
        ("sixteen bits", "b.png has pixels of more than 8 bits"),
        ("transparent", "b.png is transparent in places"),
        ("deep", "x/y/c.png stands more than one folder deep"),
        ("no such file", "there is no picture 'c.png' in"),
        ("no such file", "line 3 of images.csv"),
        ("unnamed", "no picture is named"),
        ("no column", "should have a column 'file' that names the pictures"),
    ],
)
def test_a_folder_that_cannot_be_read_says_which_file(tmp_path: Path, name: str, message: str) -> None:
    bad(tmp_path, name)
    with pytest.raises(DataError) as error:
        read(tmp_path, 1, 4, 5)
    assert message in str(error.value)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match="there is no picture in"):
        read(tmp_path)


def test_too_many_pictures_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits_folder(tmp_path, 10)
    (tmp_path / "digit0" / "0000.png").write_bytes((tmp_path / "digit0" / "0000.png").read_bytes()[:-20])
    monkeypatch.setattr(sources, "LARGEST", 10 * 64 * 4 - 1)
    with pytest.raises(DataError, match="has about 10 rows of 64 numbers"):
        read(tmp_path, 8, 8)
