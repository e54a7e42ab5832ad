"""Plane geometry of a picture: Bezier curves, outlines of marks, and boxes. All in points."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from graphvae.diagrams.scene import Mark, Point

Curve = tuple[Point, ...]
"""A cubic Bezier curve, or several that each begin where the last one ends: one point and then three for each."""

Box = tuple[float, float, float, float]
"""The left, lower, right and upper edge."""

_FINE = 32
_HALVINGS = 24
_SHARES = np.linspace(0, 1, _FINE + 1)[:, None]
_WEIGHTS = np.hstack(
    [(1 - _SHARES) ** 3, 3 * _SHARES * (1 - _SHARES) ** 2, 3 * _SHARES**2 * (1 - _SHARES), _SHARES**3],
)


def bent(start: Point, end: Point, bend: float) -> Curve:
    """From point to point; in the middle, `bend` to the left of the straight line."""
    across, up = end[0] - start[0], end[1] - start[1]
    length = math.hypot(across, up) or 1.0
    aside = (-up / length * bend * 4 / 3, across / length * bend * 4 / 3)
    first, second = ((start[0] + across * share + aside[0], start[1] + up * share + aside[1]) for share in (1 / 3, 2 / 3))
    return start, first, second, end


def loop(mark: Mark, degrees: float, reach: float) -> Curve:
    """From the outline of a mark back to it, on the side that a direction points to."""
    ends = [_on_outline(mark, degrees + turn) for turn in (28, -28)]
    ways = [math.radians(degrees + turn) for turn in (38, -38)]
    first, second = (
        (end[0] + reach * math.cos(way), end[1] + reach * math.sin(way)) for end, way in zip(ends, ways, strict=True)
    )
    return ends[0], first, second, ends[1]


def at(curve: Curve, share: float) -> Point:
    """A point of a single curve, from its start at 0 to its end at 1."""
    weights = ((1 - share) ** 3, 3 * share * (1 - share) ** 2, 3 * share**2 * (1 - share), share**3)
    return (
        sum(weight * point[0] for weight, point in zip(weights, curve, strict=True)),
        sum(weight * point[1] for weight, point in zip(weights, curve, strict=True)),
    )


def direction(curve: Curve, share: float) -> Point:
    """The direction of a single curve at one of its points, with length 1."""
    before, after = at(curve, max(share - 0.01, 0.0)), at(curve, min(share + 0.01, 1.0))
    length = math.dist(before, after) or 1.0
    return (after[0] - before[0]) / length, (after[1] - before[1]) / length


def samples(curve: Curve) -> Any:
    """Points along a single curve, as an array [point, coordinate]."""
    return _WEIGHTS @ np.array(curve)


def part(curve: Curve, start: float, end: float) -> Curve:
    """What a single curve is between two shares of it."""
    return _half(_half(curve, end)[0], start / end)[1] if end > 0 else curve


def clipped(curve: Curve, tail: Mark, head: Mark) -> Curve:
    """The piece of a curve that is outside of the marks that it joins."""
    points = samples(curve)
    behind = np.flatnonzero(inside(tail, points))
    leave = int(behind[-1]) if len(behind) else 0
    ahead = [step for step in np.flatnonzero(inside(head, points)) if step > leave]
    enter = int(ahead[0]) if ahead else _FINE
    start = _boundary(curve, tail, leave / _FINE, min(leave + 1, _FINE) / _FINE)
    end = _boundary(curve, head, enter / _FINE, max(enter - 1, 0) / _FINE)
    return part(curve, start, end) if start < end else curve


def inside(mark: Mark, points: Any, margin: float = 0.0) -> Any:
    """Which points [..., coordinate] are within the outline of a mark, or within a margin around it."""
    away = np.abs(np.asarray(points) - mark.centre) / (mark.width / 2 + margin, mark.height / 2 + margin)
    if mark.look in ("given", "sub-model"):
        return away.max(axis=-1) <= 1
    return (away**2).sum(axis=-1) <= 1


def mark_box(mark: Mark) -> Box:
    """The box around a mark, without its caption."""
    across, up = mark.width / 2, mark.height / 2
    return mark.centre[0] - across, mark.centre[1] - up, mark.centre[0] + across, mark.centre[1] + up


def curve_box(curve: Curve) -> Box:
    """The box around a single curve."""
    points = samples(curve)
    left, lower, right, upper = map(float, (*points.min(axis=0), *points.max(axis=0)))
    return left, lower, right, upper


def around(boxes: Iterable[Box]) -> Box:
    """The smallest box around boxes."""
    left, lower, right, upper = zip(*boxes, strict=True)
    return min(left), min(lower), max(right), max(upper)


def grown(box: Box, margin: float) -> Box:
    """A box with a margin around it."""
    return box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes have something in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def holds(box: Box, points: Any) -> Any:
    """Which points [..., coordinate] are in a box."""
    return ((points >= box[:2]) & (points <= box[2:])).all(axis=-1)


def within(box: Box, other: Box) -> bool:
    """Whether a box is in another."""
    return other[0] <= box[0] and other[1] <= box[1] and box[2] <= other[2] and box[3] <= other[3]


def mark_hits(mark: Mark, box: Box, margin: float = 0.0) -> bool:
    """Whether a mark and a box have something in common: the point of the box that is next to the centre is in the mark."""
    nearest = (min(max(mark.centre[0], box[0]), box[2]), min(max(mark.centre[1], box[1]), box[3]))
    return bool(inside(mark, nearest, margin))


def _on_outline(mark: Mark, degrees: float) -> Point:
    way = math.radians(degrees)
    across, up = math.cos(way), math.sin(way)
    if mark.look in ("given", "sub-model"):
        reach = min(mark.width / 2 / max(abs(across), 1e-9), mark.height / 2 / max(abs(up), 1e-9))
    else:
        reach = 1 / math.hypot(across / (mark.width / 2), up / (mark.height / 2))
    return mark.centre[0] + reach * across, mark.centre[1] + reach * up


def _half(curve: Curve, share: float) -> tuple[Curve, Curve]:
    """A single curve before and after a share of it (de Casteljau)."""
    left, right, points = [], [], list(curve)
    while points:
        left.append(points[0])
        right.append(points[-1])
        points = [(one[0] + share * (two[0] - one[0]), one[1] + share * (two[1] - one[1])) for one, two in pairwise(points)]
    return tuple(left), tuple(reversed(right))


def _boundary(curve: Curve, mark: Mark, within: float, outside: float) -> float:
    for _ in range(_HALVINGS):
        middle = (within + outside) / 2
        if inside(mark, at(curve, middle)):
            within = middle
        else:
            outside = middle
    return outside
