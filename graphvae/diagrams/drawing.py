"""A panel while it is drawn: marks, loops, factors, frames and arrows, in this order. The class is `Drawing`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from graphvae.diagrams.boxes import Group
from graphvae.diagrams.curves import Box, around, bent, curve_box, grown, holds, mark_box, overlap, samples
from graphvae.diagrams.layout import Positions
from graphvae.diagrams.metrics import SQUARE, Metrics, size
from graphvae.diagrams.route import BLOCKED, Router
from graphvae.diagrams.scene import Arrow, Factor, Frame, Mark, Point, Text, moved
from graphvae.diagrams.sketch import PARAMETERS, Edge, Half, Sketch, before, upright
from graphvae.diagrams.symbols import Symbol
from graphvae.diagrams.typeset import box as text_box
from graphvae.diagrams.typeset import extent

_CLEAR = 2.0
_ROWS = Symbol("N", "N")


class Drawing:
    """A panel while it is drawn."""

    def __init__(self, sketch: Sketch, halves: Sequence[Half], positions: Positions, metrics: Metrics) -> None:
        self.sketch, self.halves, self.metrics = sketch, halves, metrics
        there = {name for half in halves for name in half.nodes}
        self.marks = {name: self._mark(name, positions[name]) for name in sketch.nodes if name in there}
        self.router = Router(self.marks)
        self.held: dict[str, list[Box]] = {name: [mark_box(mark)] for name, mark in self.marks.items()}
        self.drawn: list[Arrow] = []
        self.squares: list[Factor] = []
        self.framed: list[Frame] = []
        self.ends: dict[tuple[str, str], Mark] = {}

    def _mark(self, name: str, centre: Point) -> Mark:
        node = self.sketch.nodes[name]
        width, height = size(self.sketch, name, self.metrics)
        return Mark(name, node.look, Text(node.symbol, centre, self.metrics.name), width, height, node.double)

    def loops(self) -> None:
        """The arrows from a node to itself, in the next slot."""
        for half in self.halves:
            for edge in half.edges:
                if edge.tail == edge.head:
                    label = before(self.sketch, edge)
                    mark = self.marks[edge.head]
                    curve, text = self.router.loop(mark, 0.6 * self.metrics.node, label, self.metrics.small)
                    self.drawn.append(Arrow(half.name, edge.tail, edge.head, curve, previous=True, label=text))
                    self.held[edge.head] += [curve_box(curve), text_box(text)]

    def factors(self) -> None:
        """A square in front of every random variable, on the side that its parents are on."""
        for half in self.halves:
            for child, family in half.families.items():
                tails = [edge.tail for edge in half.edges if edge.head == child and edge.tail != child]
                self._factor(half, child, upright(family.replace("_", " ")), tails)

    def _factor(self, half: Half, child: str, family: Symbol, tails: Sequence[str]) -> None:
        mark, small = self.marks[child], self.metrics.small
        wanted = _towards(mark, [self.marks[tail] for tail in tails])
        best: tuple[float, Mark, Text] | None = None
        outer = [group for group in self.sketch.groups if child in group.members]
        for turn in (0, 30, -30, 60, -60, 90, -90, 120, -120, 150, -150, 180):
            way = math.radians(wanted + turn)
            reach = 1 / math.hypot(math.cos(way) / (mark.width / 2), math.sin(way) / (mark.height / 2)) + 13
            centre = (mark.centre[0] + reach * math.cos(way), mark.centre[1] + reach * math.sin(way))
            square = Mark(child, "sub-model", Text(Symbol("", ""), centre, small), SQUARE, SQUARE)
            for side in (1, -1):
                at = (centre[0] + side * (SQUARE / 2 + 3), centre[1])
                text = Text(family, at, small, "left" if side == 1 else "right")
                room = [text_box(text), mark_box(square)]
                taken = sum(map(self.router.crowd, room)) + BLOCKED * self._intrudes(around(room), outer)
                cost = taken + abs(turn) + (side == -1)
                if best is None or cost < best[0]:
                    best = (cost, square, text)
        assert best is not None
        _, square, text = best
        curve = Router(self.marks).arrow(square, mark, child)
        self.squares.append(Factor(half.name, child, square.centre, curve, text))
        self.ends[half.name, child] = square
        self.held[child] += [mark_box(square), text_box(text)]
        self.router.boxes += [(mark_box(square), child), (text_box(text), "")]

    def _intrudes(self, box: Box, groups: Iterable[Group]) -> int:
        """How many marks the frames of groups would reach, from the inside out, if they held a box as well."""
        found = 0
        for group in sorted(groups, key=lambda group: len(group.members)):
            box = grown(around([box, *self._held_by(group)]), self.metrics.margin)
            found += self._reached(box, group.members)
        return found

    def _held_by(self, group: Group) -> list[Box]:
        """What a frame around a group holds of its nodes."""
        return [box for name in self.marks if name in group.members for box in self.held[name]]

    def _reached(self, box: Box, members: frozenset[str]) -> int:
        """How many marks a box reaches that are not of a group."""
        return sum(overlap(box, mark_box(mark)) for name, mark in self.marks.items() if name not in members)

    def frames(self) -> None:
        """Plates and sub-models, from the inside out."""
        made: list[tuple[Group, Frame]] = []
        for group in sorted(self.sketch.groups, key=lambda group: -len(group.members))[::-1]:
            held = self._held_by(group)
            if held:
                inside = [frame.box for inner, frame in made if inner.members & self.marks.keys() <= group.members]
                label, whole = self.sketch.labels[group.name], around([*held, *inside])
                frames = [_frame(group, label, whole, self.metrics, lean) for lean in (0.5, 1.0, 0.0)]
                frame = min(frames, key=lambda frame: self._taken(frame.box, group))
                made.append((group, self._cleared(frame, group)))
        self.framed = [frame for _, frame in reversed(made)]
        self.router.boxes += [(text_box(frame.label), "") for frame in self.framed]
        self.router.frames += [(frame.box, group.members) for group, frame in made]

    def _taken(self, box: Box, group: Group) -> int:
        """How many marks are in the way of a frame, or of the frames around it."""
        around_it = [other for other in self.sketch.groups if other is not group and group.members <= other.members]
        return self._reached(box, group.members) + self._intrudes(box, around_it)

    def _cleared(self, frame: Frame, group: Group) -> Frame:
        """As much wider to the right as it takes for arrows to leave the frame beside its label, where there is room."""
        members = group.members
        edges = [edge for half in self.halves for edge in half.edges if (edge.tail in members) != (edge.head in members)]
        ways = [samples(bent(self.marks[edge.tail].centre, self.marks[edge.head].centre, 0)) for edge in edges]
        for more in range(0, 50, 5):
            wider = replace(frame, upper=(frame.upper[0] + more, frame.upper[1]), label=moved(frame.label, float(more), 0.0))
            if more and self._taken(wider.box, group):
                break
            if not any(holds(grown(text_box(wider.label), _CLEAR), way).any() for way in ways):
                return wider
        return frame

    def rows(self) -> None:
        """The plate of rows, around everything."""
        boxes = [
            *(frame.box for frame in self.framed),
            *map(mark_box, self.marks.values()),
            *(box for box, _ in self.router.boxes),
        ]
        boxes += [curve_box(arrow.curve) for arrow in self.drawn]
        rows = Group("plate", "", frozenset(self.marks))
        self.framed.insert(0, _frame(rows, _ROWS, around(boxes), self.metrics))

    def parameters(self) -> None:
        """The parameters of the networks, outside of the plate of rows: on the left, and those of q over p on the right."""
        left, _, right, _ = self.framed[0].box
        for half in self.halves:
            heads = [name for name in half.learned if name in self.marks]
            if not heads:
                continue
            symbol = PARAMETERS[half.name]
            width, above, below = extent(symbol, self.metrics.name)
            away = self.metrics.gap + width / 2
            across = right + away if half is not self.halves[0] else left - away
            up = sum(self.marks[name].centre[1] for name in heads) / len(heads)
            name = f"parameters {half.name}"
            text = Text(symbol, (across, up), self.metrics.name)
            self.marks[name] = Mark(name, "given", text, width + 4, 2 * max(above, below) + 4)
            edges = sorted(((half, Edge(name, head)) for head in heads), key=self._length)
            self.drawn += [self._arrow(*pair)[0] for pair in edges]

    def arrows(self) -> None:
        """All other arrows, the shortest first, and then the labels of those from the slot before."""
        edges = [(half, edge) for half in self.halves for edge in half.edges if edge.tail != edge.head]
        made = [self._arrow(*pair) for pair in sorted(edges, key=self._length)]
        self.drawn += [self._labelled(arrow, edge) for arrow, edge in made]

    def _arrow(self, half: Half, edge: Edge) -> tuple[Arrow, Edge]:
        end = self.ends.get((half.name, edge.head))
        curve = self.router.arrow(self.marks[edge.tail], end or self.marks[edge.head], edge.head)
        return Arrow(half.name, edge.tail, edge.head, curve, pointed=end is None, previous=bool(edge.previous)), edge

    def _labelled(self, arrow: Arrow, edge: Edge) -> Arrow:
        if not edge.previous:
            return arrow
        return replace(arrow, label=self.router.label(arrow.curve, before(self.sketch, edge), self.metrics.small))

    def _length(self, pair: tuple[Half, Edge]) -> tuple[int, float]:
        half, edge = pair
        return self.halves.index(half), math.dist(self.marks[edge.tail].centre, self.marks[edge.head].centre)


def _towards(mark: Mark, others: Sequence[Mark]) -> float:
    """The mean direction from a mark to others, in degrees; upwards where there are none."""
    ways = [math.atan2(other.centre[1] - mark.centre[1], other.centre[0] - mark.centre[0]) for other in others]
    across, up = sum(map(math.cos, ways)), sum(map(math.sin, ways))
    return math.degrees(math.atan2(up, across)) if math.hypot(across, up) > 0.1 else 90.0


def _frame(group: Group, label: Symbol, held: Box, metrics: Metrics, lean: float = 0.5) -> Frame:
    """A frame around what it holds, with a line for its label: at the bottom of a plate, at the top of a sub-model.

    `lean` is the share of what the label needs beyond that which is on the right.
    """
    left, lower, right, upper = held
    spare = max(0.0, extent(label, metrics.small)[0] + 8 - (right - left) - 2 * metrics.margin)
    left, right = left - metrics.margin - (1 - lean) * spare, right + metrics.margin + lean * spare
    if group.kind == "plate":
        lower, upper = lower - metrics.band - 2, upper + metrics.margin
        text = Text(label, (right - 4, lower + metrics.band / 2), metrics.small, "right")
    else:
        lower, upper = lower - metrics.margin, upper + metrics.band + 2
        text = Text(label, (left + 4, upper - metrics.band / 2), metrics.small, "left")
    return Frame(group.kind, group.name, text, (left, lower), (right, upper))
