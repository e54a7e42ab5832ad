"""Mathematics as outlines, and how much room it takes, by the mathtext of matplotlib. The verbs are `extent` and `letters`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextToPath

from graphvae.diagrams.scene import Align, Point, Text
from graphvae.diagrams.symbols import Symbol

Commands = tuple[tuple[str, tuple[Point, ...]], ...]

FONTS: ContextVar[Literal["stix", "cm"]] = ContextVar("fonts", default="stix")
"""The fonts of mathematics: those that look like Times, which we draw with, or Computer Modern, which LaTeX does."""

_MIDDLE = 0.23
_SHARES: dict[Align, float] = {"left": 0.0, "centre": 0.5, "right": 1.0}
_LETTERS = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
_SIZE = 100.0
_TEXT = TextToPath()
_WIDER = 0.05  # Computer Modern of 7 points is a seventh wider than that of 10 points, made smaller
_BOLDER = 1.12

# Inside \boldsymbol, mathtext reads \mathit as italics that are not bold.
_BOLD_WORD, _IN_BOLD = re.compile(r"\\boldsymbol\{\\mathit\{([^{}]*)\}\}"), r"\\mathbfit{\1}"


@contextmanager
def room_for_latex() -> Iterator[None]:
    """Everything is measured as LaTeX sets it."""
    before = FONTS.set("cm")
    try:
        yield
    finally:
        FONTS.reset(before)


def mathematics(symbol: Symbol) -> str:
    """A symbol as matplotlib reads it."""
    return f"${_BOLD_WORD.sub(_IN_BOLD, symbol.latex)}$"


def font(size: float) -> FontProperties:
    """The font of a size in points."""
    return FontProperties(size=size, math_fontfamily=FONTS.get())


def extent(symbol: Symbol, size: float) -> tuple[float, float, float]:
    """The width in points, and how far a symbol reaches above and below the middle of a small letter."""
    fonts = FONTS.get()
    width, height, depth = (length * size / _SIZE for length in _measured(mathematics(symbol), fonts))
    if fonts == "cm":
        width *= (1 + _WIDER * (10 - size)) * (_BOLDER if symbol.bold else 1)
    return width, height - depth - _MIDDLE * size, depth + _MIDDLE * size


def box(text: Text) -> tuple[float, float, float, float]:
    """The left, lower, right and upper edge of a text."""
    width, above, below = extent(text.symbol, text.size)
    left = text.at[0] - _SHARES[text.align] * width
    return left, text.at[1] - below, left + width, text.at[1] + above


def start(text: Text) -> tuple[float, float]:
    """Where the baseline of a text begins."""
    return box(text)[0], text.at[1] - _MIDDLE * text.size


@dataclass(frozen=True)
class Letter:
    """A letter of a symbol, or a line in it: where it stands, and how large it is, in hundredths of the size of the text.

    `path` is its outline around the origin as commands: M and L with one point, Q with two, C with three, Z with none.
    """

    name: str
    at: Point
    scale: float
    path: Commands


_OUTLINES: dict[str, Commands] = {}  # by the names of letters, whose fonts never change


def letters(symbol: Symbol) -> list[Letter]:
    """The letters of a symbol, from where its baseline begins; letters with the same name have the same outline."""
    placed, outlines, lines = _TEXT.get_glyphs_mathtext(font(_SIZE), mathematics(symbol))
    for name, outline in outlines.items():
        if name not in _OUTLINES:
            _OUTLINES[name] = _commands(*outline)
    found = [
        Letter(re.sub(r"[^\w-]", "-", str(name)), (float(across), float(up)), float(scale), _OUTLINES[name])
        for name, across, up, scale in placed
    ]
    return found + [Letter("", (0.0, 0.0), 1.0, _commands(*line)) for line in lines]


def lift(text: Text) -> float:
    """By how many points a text in a PDF of matplotlib is too high: heights of mathematics are rounded up to whole points."""
    [(*_, fine), *_] = _TEXT.mathtext_parser.parse(mathematics(text.symbol), 72, font(_SIZE)).glyphs
    [(*_, rounded), *_] = _TEXT.mathtext_parser.parse(mathematics(text.symbol), 72, font(text.size)).glyphs
    return float(rounded - fine * text.size / _SIZE)


def _commands(points: Any, codes: Any) -> Commands:
    found = []
    for corners, code in Path(points, codes).iter_segments(simplify=False, curves=True):
        letter = _LETTERS[int(code)]
        pairs = zip(corners[::2], corners[1::2], strict=True) if letter != "Z" else ()
        found.append((letter, tuple((float(across), float(up)) for across, up in pairs)))
    return tuple(found)


@cache
def _measured(mathematics: str, fonts: str) -> tuple[float, float, float]:
    width, height, depth = _TEXT.get_text_width_height_descent(mathematics, font(_SIZE), ismath=True)
    return float(width), float(height), float(depth)
