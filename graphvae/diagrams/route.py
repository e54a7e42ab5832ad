"""Which way arrows run and where labels stand, so that nothing lies on anything else. The class is `Router`.

An arrow is straight where that is free, and else bent as little as needed. What it may not cross is dear, what it should not come
near is cheap, and the cheapest way is taken: so there always is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphvae.diagrams.curves import (
    Box,
    Curve,
    at,
    bent,
    clipped,
    curve_box,
    direction,
    grown,
    holds,
    inside,
    loop,
    mark_hits,
    overlap,
    samples,
)
from graphvae.diagrams.scene import Mark, Point
from graphvae.diagrams.typeset import extent
from graphvae.diagrams.symbols import Symbol

_BENDS = (0, 6, 10, 15, 20, 26, 33, 41, 50, 60, 72)
_CLEAR = 3.0
_LEAST = 7.0
_SIDES = (0, 180, 90, 270, 45, 135, 315, 225)


@dataclass
class Router:
    """What is drawn so far in a panel: the marks, boxes that arrows keep off, borders, and the arrows."""

    marks: Mapping[str, Mark]
    boxes: list[Box] = field(default_factory=list)
    borders: list[Box] = field(default_factory=list)
    arrows: list[tuple[str, str, Any]] = field(default_factory=list)

    def arrow(self, tail: Mark, head: Mark, child: str) -> Curve:
        """The way from a mark to another, which is that of a child or its factor."""
        ways = [clipped(bent(tail.centre, head.centre, bend), tail, head) for bend in _both_ways(_BENDS)]
        costs = [self._cost(way, tail.name, child) + abs(bend) for way, bend in zip(ways, _both_ways(_BENDS), strict=True)]
        way = ways[costs.index(min(costs))]
        self.arrows.append((tail.name, child, np.array(samples(way))))
        return way

    def loop(self, mark: Mark, reach: float, label: Symbol, size: float) -> tuple[Curve, Point]:
        """The way from a mark back to itself, and where its label stands."""
        best: tuple[float, Curve, Point] | None = None
        for rank, degrees in enumerate(_SIDES):
            way = loop(mark, degrees, reach)
            width, above, below = extent(label, size)
            across, up = direction(_outward(mark, way), 0.5)
            middle = at(way, 0.5)
            place = (middle[0] + across * (width / 2 + 2), middle[1] + up * (max(above, below) + 2))
            room = (place[0] - width / 2, place[1] - below, place[0] + width / 2, place[1] + above)
            cost = self._crowd(curve_box(way), mark.name) + self._crowd(room, mark.name) + rank
            if best is None or cost < best[0]:
                best = (cost, way, place)
        assert best is not None
        self.arrows.append((mark.name, mark.name, np.array(samples(best[1]))))
        return best[1:]

    def label(self, curve: Curve, label: Symbol, size: float) -> Point:
        """Where the label of an arrow stands: beside its middle, or where there is more room."""
        width, above, below = extent(label, size)
        best: tuple[float, Point] | None = None
        for share in (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8):
            middle, (across, up) = at(curve, share), direction(curve, share)
            for side in (1, -1):
                away = 2 + abs(up) * width / 2 + abs(across) * (above + below) / 2
                place = (middle[0] - side * up * away, middle[1] + side * across * away)
                room = (place[0] - width / 2, place[1] - below, place[0] + width / 2, place[1] + above)
                cost = self._crowd(room) + abs(share - 0.5)
                if best is None or cost < best[0]:
                    best = (cost, place)
        assert best is not None
        self.boxes.append((best[1][0] - width / 2, best[1][1] - below, best[1][0] + width / 2, best[1][1] + above))
        return best[1]

    def crowd(self, box: Box, but: str = "") -> float:
        """What there is already in the place of something else."""
        return self._crowd(box, but)

    def _cost(self, way: Curve, tail: str, head: str) -> float:
        points = samples(way)
        others = [mark for name, mark in self.marks.items() if name not in (tail, head)]
        cost = 1000.0 * sum(any(inside(mark, point, _CLEAR) for point in points) for mark in others)
        cost += 300.0 * sum(any(holds(grown(box, 1), point) for point in points) for box in self.boxes)
        for one, other, drawn in self.arrows:
            distance = np.linalg.norm(drawn[:, None] - np.array(points)[None], axis=2).min(axis=0)
            near = distance < (_LEAST if {one, other} == {tail, head} else 2.0)
            shared = (2 if one == tail else 0, len(points) - 8 if other == head else len(points))
            cost += 8.0 * max(0, int(near[shared[0] : shared[1]].sum()) - 1)
        return cost

    def _crowd(self, box: Box, but: str = "") -> float:
        marks = sum(mark_hits(mark, box, 1.0) for name, mark in self.marks.items() if name != but)
        boxes = sum(overlap(box, other) for other in self.boxes)
        arrows = sum(any(holds(grown(box, 0.5), tuple(point)) for point in drawn) for _, _, drawn in self.arrows)
        borders = sum(overlap(box, other) and not _within(box, other) for other in self.borders)
        return 1000.0 * (marks + boxes) + 60.0 * arrows + 60.0 * borders


def _both_ways(bends: Iterable[int]) -> list[int]:
    return [sign * bend for bend in bends for sign in ((1, -1) if bend else (1,))]


def _outward(mark: Mark, way: Curve) -> Curve:
    """The straight line from a mark to the middle of its loop."""
    return bent(mark.centre, at(way, 0.5), 0)


def _within(box: Box, other: Box) -> bool:
    return other[0] <= box[0] and other[1] <= box[1] and box[2] <= other[2] and box[3] <= other[3]
