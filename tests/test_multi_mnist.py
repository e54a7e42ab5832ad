"""Scenes of digits: what is on a canvas is what the columns say, and the laws of the recipe hold."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import norm
from torch.nn.functional import affine_grid, grid_sample

from graphvae.compiler import spec
from graphvae.lab.mnist import Digits, read_digits
from graphvae.lab.multi_mnist import Scenes, compose, read_multi_mnist
from graphvae.lab.sources import Rows, Want, read_source
from graphvae.runtime.expressions import paste

SHARED = Path(os.environ.get("GRAPHVAE_DATA", Path(__file__).parents[2] / "shared" / "data" / "mnist"))
needs_mnist = pytest.mark.skipif(not SHARED.is_dir(), reason="MNIST is downloaded only by people who train on it")


def digits(brightest: int = 100) -> Digits:
    """Forty different pictures within a black frame, as MNIST's are."""
    images = np.zeros((40, 28, 28), np.uint8)
    row, down, across = np.ogrid[:40, :20, :20]
    images[:, 4:24, 4:24] = (row * 37 + down * across * 11 + down * 5) % (brightest + 1)
    return Digits(images, (np.arange(40) % 10).astype(np.uint8))


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return compose(digits(), 3000, seed=0)


def count(scenes: Scenes) -> np.ndarray:
    return (scenes.label >= 0).sum(1)


def written(windows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Windows [row, slot, 28, 28] on canvases [row, slot, 50, 50], as torch's own spatial transformer writes them."""
    scale, across, down = np.moveaxis(places.reshape(-1, 3), -1, 0)
    nothing = np.zeros_like(scale)
    theta = np.stack([np.stack([scale, nothing, across], -1), np.stack([nothing, scale, down], -1)], 1)
    grid = affine_grid(torch.from_numpy(theta).double(), (len(theta), 1, 50, 50), align_corners=False)
    flat = torch.from_numpy(windows.reshape(-1, 1, 28, 28)).double()
    return grid_sample(flat, grid, align_corners=False).numpy().reshape(*windows.shape[:2], 50, 50)


def test_a_third_of_the_scenes_has_each_number_of_digits(scenes: Scenes) -> None:
    assert np.bincount(count(scenes)).tolist() == [0, 1000, 1000, 1000]
    assert abs(count(scenes)[:1000].mean() - 2) < 4 * np.sqrt(2 / 3 / 1000), "in random order"
    assert np.bincount(count(compose(digits(), 11, seed=0))).tolist() == [0, 4, 4, 3]


def test_slots_are_filled_from_the_left_and_their_labels_are_those_of_their_images(scenes: Scenes) -> None:
    there = np.arange(3) < count(scenes)[:, None]
    for name in ("image", "label", "size", "left", "top"):
        assert ((getattr(scenes, name) >= 0) == there).all(), name
    assert (scenes.label[there] == scenes.image[there] % 10).all()
    centre = np.where(there, scenes.left + scenes.size / 2, 100)
    assert (np.diff(centre, axis=1)[there[:, 1:]] >= 0).all()


def test_sizes_and_places_follow_their_laws() -> None:
    """Where nothing can overlap: size int(28 / s) with s ~ N(1.3, 0.1), and each edge uniform on what fits."""
    blank = digits()._replace(images=np.zeros((40, 28, 28), np.uint8))
    drawn = compose(blank, 6000, seed=3)
    size, left, top = (part[part >= 0] for part in (drawn.size, drawn.left, drawn.top))
    for pixels in (18, 20, 21, 22, 24):
        share = norm.cdf(28 / pixels, 1.3, 0.1) - norm.cdf(28 / (pixels + 1), 1.3, 0.1)
        assert abs((size == pixels).mean() - share) < 4 * np.sqrt(share * (1 - share) / len(size))
    for edge in (left, top):
        assert edge.min() == 0
        assert (edge + size).max() == 50
        fit = 51 - size
        assert abs((edge / (fit - 1)).mean() - 0.5) < 4 * np.sqrt(((fit + 1) / (fit - 1) / 12).mean() / len(size))
        first = (fit // 4) / fit
        assert abs((edge < fit // 4).mean() - first.mean()) < 4 * np.sqrt((first * (1 - first)).mean() / len(size))
    images = np.bincount(drawn.image[drawn.image >= 0], minlength=40) / len(size)
    assert (abs(images - 1 / 40) < 4 * np.sqrt(1 / 40 / len(size))).all()


def test_pixels_that_would_sum_up_beyond_255_are_drawn_anew() -> None:
    """Where every pixel is white, digits have no pixel in common, and there is as many of them as before."""
    white = digits()._replace(images=np.full((40, 28, 28), 255, np.uint8))
    drawn = compose(white, 300, seed=0)
    assert np.bincount(count(drawn)).tolist() == [0, 100, 100, 100]
    area = np.where(drawn.size > 0, drawn.size**2, 0).sum(1)
    inside = drawn.canvas == 255
    assert (inside.sum((1, 2)) == area).all()
    assert set(np.unique(drawn.canvas[:, ::7])) <= {0, 255}


def test_the_same_seed_makes_the_same_scenes_on_every_machine(scenes: Scenes) -> None:
    def checksum(made: Scenes) -> str:
        return hashlib.sha256(b"".join(part.astype(part.dtype.newbyteorder("<")).tobytes() for part in made)).hexdigest()

    assert checksum(compose(digits(), 3000, seed=0)) == checksum(scenes)
    assert checksum(compose(digits(), 3000, seed=1)) != checksum(scenes)
    assert checksum(scenes) == "92456637494ddc512378cd08b63c8fbb3865cad3143e176323eafc9cca444ae5"


@pytest.fixture(scope="module")
def rows() -> Rows:
    return read_multi_mnist(SHARED, None, None)


@needs_mnist
def test_the_columns(rows: Rows) -> None:
    assert {name: (values.shape[1:], values.dtype.kind) for name, values in rows.columns.items()} == {
        "image": ((50, 50), "f"),
        "count": ((), "i"),
        "digit": ((3,), "i"),
        "place": ((3, 3), "f"),
        "window": ((3, 28, 28), "f"),
    }
    assert rows.test is not None
    assert rows.test.tolist() == list(range(12_000, 14_000))
    assert rows.count == 14_000
    for part in (slice(12_000), slice(12_000, None)):
        assert len(set(np.bincount(rows.columns["count"][part])[1:].tolist())) <= 2
    assert rows.columns["image"].max() == 1
    assert set(read_multi_mnist(SHARED, {"count": Want()}, None).columns) == {"count"}


@needs_mnist
def test_as_many_scenes_as_are_ordered_by_the_seed() -> None:
    found = read_source("multi_mnist", SHARED, {"image": Want()}, None, spec.Scenes(train=30, test=7, seed=3))
    assert found.test is not None
    assert found.test.tolist() == list(range(30, 37))
    for part, rows, name, seed in ((slice(30), 30, "train", 6), (slice(30, None), 7, "t10k", 7)):
        canvas = compose(read_digits(name, SHARED, None), rows, seed).canvas
        np.testing.assert_array_equal(found.columns["image"][part] * 255, canvas)


@needs_mnist
def test_a_canvas_is_the_sum_of_its_windows_in_their_places(rows: Rows) -> None:
    """To half a byte for each digit: what the canvas has is what paste would write, in whole numbers."""
    some = slice(0, 600)
    windows, places, image = (rows.columns[name][some] for name in ("window", "place", "image"))
    there = np.arange(3) < rows.columns["count"][some, None]
    assert (np.isnan(windows).all((2, 3)) == ~there).all()
    assert (np.isnan(places).all(2) == ~there).all()
    each = np.where(there[..., None, None], written(np.nan_to_num(windows), np.nan_to_num(places, nan=1.0)), 0)
    assert (abs(each.sum(1) - image) <= (0.5 * (each > 0).sum(1) + 1e-3) / 255).all()


@needs_mnist
def test_places_are_those_of_expressions(rows: Rows) -> None:
    """What `paste` writes at a place, torch's own transformer writes there."""
    windows, places = (torch.from_numpy(rows.columns[name][:200, 0]).double() for name in ("window", "place"))
    pasted = paste(windows[:, None], places, 50, 50)
    assert_allclose(pasted[:, 0], written(windows[:, None].numpy(), places[:, None].numpy())[:, 0], atol=1e-9)


@needs_mnist
@pytest.mark.parametrize(("part", "own"), [("train", slice(12_000)), ("t10k", slice(12_000, None))])
def test_windows_are_digits_of_mnist_and_no_test_digit_trains(rows: Rows, part: str, own: slice) -> None:
    source = read_digits(part, SHARED, None)  # type: ignore[arg-type]
    labels = {image.tobytes(): label for image, label in zip(*source, strict=True)}
    windows, digit = rows.columns["window"][own], rows.columns["digit"][own]
    for window, label in zip(windows[digit >= 0], digit[digit >= 0], strict=True):
        assert labels[np.rint(window * 255).astype(np.uint8).tobytes()] == label
