"""Which way arrows run and where labels stand, so that nothing lies on anything else. The class is `Router`.

An arrow is straight where that is free, and else bent as little as needed. What it may not cross is dear, what it should not
come near is cheap, and the cheapest way is taken: so there always is one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
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
    within,
)
from graphvae.diagrams.scene import Mark, Point, Text
from graphvae.diagrams.symbols import Symbol
from graphvae.diagrams.typeset import box as text_box
from graphvae.diagrams.typeset import extent

_BENDS = (0, *(sign * bend for bend in (6, 10, 15, 20, 26, 33, 41, 50, 60, 72, 86, 102) for sign in (1, -1)))
_ALONG = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82)
_ASIDE = (1.5, 4.0)
_SEEN = 12.0
_CLEAR = 3.0
_LEAST = 7.0
_TOGETHER = 10.0
BLOCKED = 1000.0
_CROSSED = 60.0
_SIDES = (0, 180, 90, 270, 45, 135, 315, 225)


@dataclass
class Router:
    """What is drawn so far in a panel: the marks, boxes that arrows keep off, what frames hold, and the arrows.

    Of a box that belongs to a variable, only others keep off.
    """

    marks: Mapping[str, Mark]
    boxes: list[tuple[Box, str]] = field(default_factory=list)
    frames: list[tuple[Box, frozenset[str]]] = field(default_factory=list)
    arrows: list[tuple[str, str, Any]] = field(default_factory=list)

    def arrow(self, tail: Mark, head: Mark, child: str) -> Curve:
        """The way from a mark to another, which is that of a child or its factor."""
        best, least = bent(tail.centre, head.centre, 0), math.inf
        for bend in _BENDS:
            way = bent(tail.centre, head.centre, bend)
            cost = self._cost(way, tail, head, child) + abs(bend)
            if cost < least:
                best, least = way, cost
            if least <= abs(bend):
                break
        best = clipped(best, tail, head)
        self.arrows.append((tail.name, child, samples(best)))
        return best

    def loop(self, mark: Mark, reach: float, label: Symbol, size: float) -> tuple[Curve, Text]:
        """The way from a mark back to itself, and its label."""
        found = []
        for rank, degrees in enumerate(_SIDES):
            way = loop(mark, degrees, reach)
            text = _beyond(mark.centre, at(way, 0.5), label, size)
            cost = self.crowd(curve_box(way), mark.name) + self.crowd(text_box(text), mark.name)
            found.append((cost, rank, way, text))
        _, _, way, text = min(found, key=lambda each: each[:2])
        self.arrows.append((mark.name, mark.name, samples(way)))
        self.boxes.append((text_box(text), ""))
        return way, text

    def label(self, curve: Curve, label: Symbol, size: float) -> Text:
        """The label of an arrow: beside its middle, or where there is more room, which may be on the arrow itself."""
        width, above, below = extent(label, size)
        found = []
        for rank, (share, side, distance) in enumerate(itertools.product(_ALONG, (1, -1), _ASIDE)):
            middle, (across, up) = at(curve, share), direction(curve, share)
            away = distance + abs(up) * width / 2 + abs(across) * (above + below) / 2
            text = Text(label, (middle[0] - side * up * away, middle[1] + side * across * away), size)
            found.append((self.crowd(text_box(text)), rank, text))
        for share in _ALONG if math.dist(curve[0], curve[-1]) > width + _SEEN else ():
            text = Text(label, at(curve, share), size)
            found.append((self.crowd(text_box(text)) - _CROSSED, len(found), text))
        text = min(found, key=lambda each: each[:2])[2]
        self.boxes.append((text_box(text), ""))
        return text

    def crowd(self, box: Box, but: str = "") -> float:
        """What there is already in the place of something else."""
        marks = sum(mark_hits(mark, box, 1.0) for name, mark in self.marks.items() if name != but)
        boxes = sum(overlap(box, other) for other, _ in self.boxes)
        arrows = sum(bool(holds(grown(box, 0.5), drawn).any()) for _, _, drawn in self.arrows)
        borders = sum(overlap(box, other) and not within(box, other) for other, _ in self.frames)
        return BLOCKED * (marks + boxes) + _CROSSED * (arrows + borders)

    def _cost(self, way: Curve, tail: Mark, head: Mark, child: str) -> float:
        points = samples(way)
        points = points[~(inside(tail, points) | inside(head, points))]
        if not len(points):
            return 0.0
        others = [mark for name, mark in self.marks.items() if name not in (tail.name, child)]
        cost = BLOCKED * sum(bool(inside(mark, points, _CLEAR).any()) for mark in others)
        cost += _CROSSED * 5 * sum(bool(holds(grown(box, 1), points).any()) for box, owner in self.boxes if owner != child)
        for frame, members in self.frames:
            held = holds(frame, points)
            if {tail.name, child} <= members:
                cost += _CROSSED * (not held.all())
            elif not {tail.name, child} & members:
                cost += _CROSSED * bool(held.any())
        return cost + sum(self._near(points, tail.name, child, *arrow) for arrow in self.arrows)

    def _near(self, points: Any, tail: str, head: str, one: str, other: str, drawn: Any) -> float:
        """How much of a way lies on an arrow that is there; two that begin or end together are near each other there."""
        distance = np.linalg.norm(drawn[:, None] - points[None], axis=2).min(axis=0)
        near = distance < (_LEAST if {one, other} == {tail, head} else 2.0)
        if one in (tail, head) or other in (tail, head):
            common = self.marks[one if one in (tail, head) else other]
            near &= ~inside(common, points, _TOGETHER)
        return 8.0 * max(0, int(near.sum()) - 1)


def _beyond(centre: Point, apex: Point, label: Symbol, size: float) -> Text:
    """A label on the far side of a loop."""
    width, above, below = extent(label, size)
    length = math.dist(centre, apex)
    across, up = (apex[0] - centre[0]) / length, (apex[1] - centre[1]) / length
    return Text(label, (apex[0] + across * (width / 2 + 2), apex[1] + up * (max(above, below) + 2)), size)
