"""Scenes of one to three digits of MNIST, composed by a seed and kept nowhere. The verbs are `read_multi_mnist` and `compose`.

How the paper's scenes were drawn is not known. This is the recipe of other works on scenes of digits: a canvas of 50 x 50
pixels, digits of int(28 / s) pixels with s ~ N(1.3, 0.1) in uniform places, and another try where digits overlap too much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphvae.compiler import spec
from graphvae.compiler.errors import Span
from graphvae.lab.mnist import Bytes, Digits, read_digits
from graphvae.lab.sources import Array, Rows, Wanted

CANVAS, WINDOW, MOST = 50, 28, 3  # pixels, pixels, digits
AT_ONCE = 4_000  # scenes are tried, to bound the memory
Ints = NDArray[np.int64]


class Scenes(NamedTuple):
    """What is seen, `canvas` [row, 50, 50] in bytes, and in each slot the image of a digit, its label, size, left and top edge.

    These are `image`, `label`, `size`, `left` and `top`, [row, slot], the image as its index; -1 beyond the count.
    """

    canvas: Bytes
    image: Ints
    label: Ints
    size: Ints
    left: Ints
    top: Ints


def read_multi_mnist(folder: Path | None, wanted: Wanted | None, span: Span | None, scenes: spec.Scenes | None = None) -> Rows:
    """Scenes for training, of the digits that MNIST has for training, and of the others for the test, as many as are ordered.

    The columns are `image` [50, 50] between 0 and 1; `count`, 1 to 3; and of each of three slots, from left to right, `digit`,
    `place`, and `window` [28, 28], the image of the digit between 0 and 1: -1 or NaN in the slots beyond the count. A place is
    (scale, shift x, shift y): the canvas shows at (x, y) what the window has at (scale * x + shift x, scale * y + shift y),
    where each of them goes from -1 to 1 between its outer edges.
    """
    scenes = scenes or spec.Scenes()
    parts = (read_digits("train", folder, span), scenes.train), (read_digits("t10k", folder, span), scenes.test)
    made = [(digits, compose(digits, rows, 2 * scenes.seed + part)) for part, (digits, rows) in enumerate(parts)]
    columns = {
        name: np.concatenate([make(digits, scenes) for digits, scenes in made])
        for name, make in _COLUMNS.items()
        if wanted is None or name in wanted
    }
    return Rows(columns, tuple(_COLUMNS), test=np.arange(scenes.train, scenes.train + scenes.test))


def compose(digits: Digits, rows: int, seed: int) -> Scenes:
    """Scenes of one to three digits, of each number a third, in random order: the same ones on every machine.

    A scene in which pixels sum up beyond 255 is drawn anew, with as many digits.
    """
    generator = np.random.default_rng(seed)
    counts = generator.permutation(np.arange(rows) % MOST + 1)
    canvas, slots = np.zeros((rows, CANVAS, CANVAS), np.uint8), np.zeros((4, rows, MOST), np.int64)
    pending = np.arange(rows)
    while len(pending):
        now, later = pending[:AT_ONCE], pending[AT_ONCE:]
        tried = _tried(len(digits.images), counts[now], generator)
        seen = _seen(digits.images, *tried)
        fits = seen.max((1, 2)) <= 255
        canvas[now[fits]], slots[:, now[fits]] = seen[fits], tried[:, fits]
        pending = np.concatenate([later, now[~fits]])
    image, size, left, top = slots
    return Scenes(canvas, image, np.where(image < 0, -1, digits.labels[image].astype(np.int64)), size, left, top)


def _tried(images: int, counts: Ints, generator: np.random.Generator) -> Ints:
    """Image, size, left and top edge [4, row, slot] of so many digits a row, in the order of their centres."""
    shape = (len(counts), MOST)
    image = generator.integers(images, size=shape)
    size = (WINDOW / generator.normal(1.3, 0.1, shape)).astype(np.int64)
    left, top = generator.integers(CANVAS - size + 1, size=(2, *shape))
    absent = np.arange(MOST) >= counts[:, None]
    order = np.argsort(np.where(absent, 2 * CANVAS, 2 * left + size), axis=1, kind="stable")
    tried = np.take_along_axis(np.stack([image, size, left, top]), order[None], axis=2)
    return np.where(absent, -1, tried)


def _seen(images: Bytes, image: Ints, size: Ints, left: Ints, top: Ints) -> NDArray[np.int16]:
    """The sum of the digits on each canvas, [row, 50, 50], a slot after the other, and together what has one size."""
    canvas = np.zeros((len(image), CANVAS, CANVAS), np.int16)
    for slot in range(MOST):
        for pixels in np.unique(size[:, slot][size[:, slot] > 0]).tolist():
            rows = np.flatnonzero(size[:, slot] == pixels)
            down, across = (edge[rows, slot, None] + np.arange(pixels) for edge in (top, left))
            canvas[rows[:, None, None], down[:, :, None], across[:, None, :]] += _resized(images[image[rows, slot]], pixels)
    return canvas


def _resized(images: Bytes, pixels: int) -> NDArray[np.int16]:
    """Images [row, 28, 28] on as many pixels, by bilinear interpolation, to the nearest byte.

    Every product and sum is a whole number that a float holds exactly, so that no machine rounds another way.
    """
    weights = _weights(pixels)
    whole = weights @ images.astype(np.float64) @ weights.T
    unit = (2 * pixels) ** 2
    return np.floor((whole + unit // 2) / unit).astype(np.int16)


def _weights(pixels: int) -> NDArray[np.float64]:
    """How much of each pixel of a window is in each of so many, [pixel, 28], in parts of twice their number.

    The centre of pixel i lies at ((2 i + 1) 28 / pixels - 1) / 2 of the window, between the centres of two of its own pixels.
    """
    first, rest = np.divmod((2 * np.arange(pixels) + 1) * WINDOW - pixels, 2 * pixels)
    weights = np.zeros((pixels, WINDOW + 2))  # what lies outside of the window, on either side, is black
    np.put_along_axis(weights, first[:, None] + 1, 2 * pixels - rest[:, None], axis=1)
    np.put_along_axis(weights, first[:, None] + 2, rest[:, None], axis=1)
    return weights[:, 1:-1]


def _place(digits: Digits, scenes: Scenes) -> Array:
    """Scale and shifts [row, slot, 3] of the map from the canvas to the window, whose edges are those of its digit."""
    size = np.where(scenes.size < 0, np.nan, scenes.size)
    shifts = [(CANVAS - 2 * edge - size) / size for edge in (scenes.left, scenes.top)]
    return np.stack([CANVAS / size, *shifts], axis=-1).astype(np.float32)


def _window(digits: Digits, scenes: Scenes) -> Array:
    there = (scenes.image >= 0)[..., None, None]
    return np.where(there, _unit(digits.images[scenes.image]), np.float32(np.nan))


def _unit(pixels: Bytes) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


_COLUMNS: Mapping[str, Callable[[Digits, Scenes], Array]] = {
    "image": lambda digits, scenes: _unit(scenes.canvas),
    "count": lambda digits, scenes: (scenes.label >= 0).sum(1),
    "digit": lambda digits, scenes: scenes.label,
    "place": _place,
    "window": _window,
}
