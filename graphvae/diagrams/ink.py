"""A scene as shapes and lines of text, in the order in which they are drawn: all that a writer of lines and areas needs.

The verb is `ink`. Shapes are straight lines and cubic Bezier curves.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from graphvae.diagrams.curves import Box, Curve, direction, mark_box, part
from graphvae.diagrams.metrics import SQUARE
from graphvae.diagrams.scene import Frame, Mark, Panel, Point, Text, over_arrows
from graphvae.diagrams.typeset import box as text_box

LINE = 0.6
DASHES = (3.0, 2.0)
GREY, WHITE, BLACK = "#bfbfbf", "#ffffff", "#000000"

_HEAD = 5.0
_HALF = 1.9
_CORNER = 4.0
_INNER = 1.8
_ROUND = 0.5523

Command = tuple[Literal["M", "L", "C", "Z"], tuple[Point, ...]]


@dataclass(frozen=True)
class Shape:
    """An area, a line around it, or both."""

    path: tuple[Command, ...]
    fill: str | None = None
    line: bool = True
    dashed: bool = False


@dataclass(frozen=True)
class Piece:
    """What belongs together: a mark, an arrow, a factor, a frame or a text, by the name that it has."""

    kind: Literal["frame", "arrow", "factor", "mark", "text"]
    title: str
    parts: tuple[Shape | Text, ...]


def ink(panel: Panel) -> Iterable[Piece]:
    """The pieces of a panel."""
    for frame in panel.frames:
        yield Piece("frame", frame.name or "rows", (_rectangle(frame), frame.label))
    for arrow in panel.arrows:
        yield Piece("arrow", f"{arrow.tail} to {arrow.head}", tuple(_arrow(arrow.curve, arrow.pointed, arrow.side == "q")))
    for factor in panel.factors:
        square = Shape(_straight(_corners(factor.centre, SQUARE / 2)), BLACK, line=False)
        stem = _arrow(factor.curve, True, factor.side == "q")
        yield Piece("factor", f"{factor.side} of {factor.child}", (*stem, square))
    for text in over_arrows(panel):
        yield Piece("text", text.symbol.text, (Shape(_straight(_box_corners(text_box(text))), WHITE, line=False), text))
    for mark in panel.marks:
        seen: list[Shape | Text] = [*_outlines(mark)]
        yield Piece("mark", mark.name, (*seen, *_shown(mark.text)))
    for text in panel.texts:
        yield Piece("text", text.symbol.text, (text,))


def _shown(text: Text | None) -> Iterable[Text]:
    return (text,) if text and text.symbol.text else ()


def _outlines(mark: Mark) -> Iterable[Shape]:
    across, up = mark.width / 2, mark.height / 2
    if mark.look == "given":
        return
    if mark.look == "sub-model":
        yield Shape(_straight(_box_corners(mark_box(mark))), WHITE)
        return
    yield Shape(_ellipse(mark.centre, across, up), GREY if mark.look == "observed" else WHITE, line=mark.look != "supervised")
    if mark.look == "supervised":
        yield Shape(_left_half(mark.centre, across, up), GREY, line=False)
        yield Shape(_ellipse(mark.centre, across, up))
    if mark.double:
        yield Shape(_ellipse(mark.centre, across - _INNER, up - _INNER))


def _arrow(curve: Curve, pointed: bool, dashed: bool) -> Iterable[Shape]:
    """A line, and the head at its end."""
    if not pointed:
        yield Shape(_open(curve), dashed=dashed)
        return
    share = _neck(curve)
    yield Shape(_open(part(curve, 0.0, share)), dashed=dashed)
    tip, (across, up) = curve[-1], direction(curve, (1 + share) / 2)
    back = (tip[0] - _HEAD * across, tip[1] - _HEAD * up)
    wings = [(back[0] - side * _HALF * up, back[1] + side * _HALF * across) for side in (1, -1)]
    yield Shape(_straight((tip, *wings)), BLACK, line=False)


def _neck(curve: Curve) -> float:
    """The share of a curve at which its head begins."""
    length = sum(itertools.starmap(math.dist, itertools.pairwise(curve)))
    return max(0.05, 1 - 0.9 * _HEAD / max(length, _HEAD))


def _open(curve: Curve) -> tuple[Command, ...]:
    return ("M", curve[:1]), ("C", curve[1:])


def _straight(points: tuple[Point, ...]) -> tuple[Command, ...]:
    return ("M", points[:1]), *(("L", (point,)) for point in points[1:]), ("Z", ())


def _corners(centre: Point, half: float) -> tuple[Point, ...]:
    return _box_corners((centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half))


def _box_corners(box: Box) -> tuple[Point, ...]:
    left, lower, right, upper = box
    return (left, lower), (right, lower), (right, upper), (left, upper)


def _ellipse(centre: Point, across: float, up: float) -> tuple[Command, ...]:
    """Four curves, from the top around by the left."""
    x, y = centre
    a, b = _ROUND * across, _ROUND * up
    return (
        *_left(centre, across, up),
        ("C", ((x + a, y - up), (x + across, y - b), (x + across, y))),
        ("C", ((x + across, y + b), (x + a, y + up), (x, y + up))),
        ("Z", ()),
    )


def _left_half(centre: Point, across: float, up: float) -> tuple[Command, ...]:
    return *_left(centre, across, up), ("Z", ())


def _left(centre: Point, across: float, up: float) -> tuple[Command, ...]:
    """Two curves, from the top by the left to the bottom."""
    x, y = centre
    a, b = _ROUND * across, _ROUND * up
    return (
        ("M", ((x, y + up),)),
        ("C", ((x - a, y + up), (x - across, y + b), (x - across, y))),
        ("C", ((x - across, y - b), (x - a, y - up), (x, y - up))),
    )


def _rectangle(frame: Frame) -> Shape:
    (left, lower), (right, upper) = frame.lower, frame.upper
    if frame.kind == "sub-model":
        return Shape(_straight(_box_corners((left, lower, right, upper))))
    r, k = _CORNER, _CORNER * (1 - _ROUND)
    return Shape(
        (
            ("M", ((left + r, lower),)),
            ("L", ((right - r, lower),)),
            ("C", ((right - k, lower), (right, lower + k), (right, lower + r))),
            ("L", ((right, upper - r),)),
            ("C", ((right, upper - k), (right - k, upper), (right - r, upper))),
            ("L", ((left + r, upper),)),
            ("C", ((left + k, upper), (left, upper - k), (left, upper - r))),
            ("L", ((left, lower + r),)),
            ("C", ((left, lower + k), (left + k, lower), (left + r, lower))),
            ("Z", ()),
        )
    )
