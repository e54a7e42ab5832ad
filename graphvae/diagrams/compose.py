"""A sketch and the positions of its nodes become a scene: `compose`.

The size of everything follows from that of the letters. Where a width is asked for, the largest letters with which it suffices
are taken, and the smallest that are tried have 7 points; a picture that does not fit then has its panels one above the other,
or the width that it needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from itertools import product
from typing import Any, TypeVar, cast

from graphvae.compiler.graph import factorised
from graphvae.diagrams.boxes import Group
from graphvae.diagrams.curves import Box, around, bent, curve_box, grown, holds, mark_box, overlap, samples
from graphvae.diagrams.layout import Positions, place
from graphvae.diagrams.route import BLOCKED, Router
from graphvae.diagrams.scene import Arrow, Factor, Frame, Mark, Panel, Point, Scene, Text
from graphvae.diagrams.sketch import Edge, Half, Sketch, upright
from graphvae.diagrams.symbols import Symbol
from graphvae.diagrams.typeset import box as text_box
from graphvae.diagrams.typeset import extent

WIDTHS = {"one-column": 3.25 * 72, "two-column": 6.75 * 72}
SQUARE = 5.0
_EDGE = 2.0
_BETWEEN = 16.0
_CLEAR = 2.0
_CAPTION = 110.0
_ROWS = Symbol("N", "N")
_PARAMETERS = {"p": Symbol(r"\theta", "θ"), "q": Symbol(r"\phi", "φ")}
_LEGEND = {
    "latent": "latent",
    "observed": "observed",
    "supervised": "observed in some rows",
    "deterministic": "deterministic",
    "p": "generative",
    "q": "recognition",
}

Part = TypeVar("Part")


@dataclass(frozen=True)
class Metrics:
    """Lengths in points: letters of names and of all else, marks, between neighbours and ranks, around what a frame holds."""

    name: float
    small: float
    node: float
    gap: float
    rank: float
    margin: float

    @property
    def band(self) -> float:
        """The height of a line of small text."""
        return 1.3 * self.small


METRICS = (Metrics(9, 7.5, 27, 18, 24, 7), Metrics(8, 7, 23, 13, 19, 6), Metrics(7, 7, 19, 9, 15, 5))


@dataclass(frozen=True)
class Composed:
    """A scene, where its nodes stand, and whether it has the width that was asked for."""

    scene: Scene
    positions: Positions
    fits: bool


def compose(sketch: Sketch, pinned: Mapping[str, Point]) -> Composed:
    """The picture. A pinned node stands where it is told to."""
    target = WIDTHS[sketch.style.width] if sketch.style.width else math.inf

    @cache
    def drawn(metrics: Metrics) -> tuple[Positions, list[Panel]]:
        positions = {**_positions(sketch, metrics), **pinned}
        return positions, _panels(sketch, positions, metrics)

    for arrange, metrics in product((_beside, _above), METRICS if sketch.style.width else METRICS[:1]):
        positions, panels = drawn(metrics)
        arranged = arrange(panels)
        if _width(arranged) <= target - 2 * _EDGE:
            return Composed(_scene(sketch, arranged, metrics, target), positions, fits=True)
    return Composed(_scene(sketch, arranged, metrics, 0.0), positions, fits=False)


def _positions(sketch: Sketch, metrics: Metrics) -> Positions:
    """The positions that Graphviz gives, with room for loops, factors and labels of arrows."""
    before = [edge for half in (sketch.p, sketch.q) for edge in half.edges if edge.previous]
    loops = {edge.tail: edge for edge in before if edge.tail == edge.head}
    more = 3 * metrics.small * (sketch.style.detail == "full") + metrics.small * (len(before) > len(loops))
    aside = {name: 0.5 * metrics.node + extent(_before(sketch, edge), metrics.small)[0] + 2 for name, edge in loops.items()}
    sizes = {name: _size(sketch, name, metrics) for name in sketch.nodes}
    room = {name: (width + aside.get(name, 0.0), height) for name, (width, height) in sizes.items()}
    found = place(sketch, room, metrics.gap + more, metrics.rank + more, metrics.margin, metrics.small)
    return {name: (across - aside.get(name, 0.0) / 2, up) for name, (across, up) in found.items()}


def _size(sketch: Sketch, name: str, metrics: Metrics) -> tuple[float, float]:
    """An ellipse around the symbol that is not smaller than a circle; less where there is no outline."""
    node = sketch.nodes[name]
    width, above, below = extent(node.symbol, metrics.name)
    high = 2 * max(above, below)
    if node.look == "given":
        return width + 4, high + 4
    inset = 4 * node.double
    if node.look == "sub-model":
        return max(width + 10, metrics.node), max(high + 8, 0.8 * metrics.node)
    height = max(metrics.node, high * 1.25 + 4) + inset / 2
    share = math.sqrt(1 - min(0.8, (0.8 * high / (height - inset)) ** 2))
    return max(height, (width + 4) / share + inset), height


def _panels(sketch: Sketch, positions: Positions, metrics: Metrics) -> list[Panel]:
    halves = {"p": sketch.p, "q": sketch.q}
    view = sketch.style.view
    if view == "overlay":
        return [_panel(sketch, "overlay", list(halves.values()), positions, metrics, "")]
    names = ("p", "q") if view == "both" else (view,)
    letters = ("a", "b") if view == "both" else ("",)
    return [
        _panel(sketch, cast(Any, name), [halves[name]], positions, metrics, letter)
        for name, letter in zip(names, letters, strict=True)
    ]


def _panel(sketch: Sketch, name: str, halves: Sequence[Half], positions: Positions, metrics: Metrics, letter: str) -> Panel:
    """Loops and factors first, since frames hold them; then frames, since arrows keep off their labels; then arrows."""
    drawing = _Drawing(sketch, halves, positions, metrics)
    drawing.loops()
    if sketch.style.detail == "full":
        drawing.factors()
    drawing.frames()
    drawing.arrows()
    if sketch.style.detail != "minimal":
        drawing.rows()
    if sketch.style.detail == "full":
        drawing.parameters()
    panel = Panel(
        cast(Any, name),
        tuple(drawing.framed),
        tuple(drawing.drawn),
        tuple(drawing.squares),
        tuple(drawing.marks.values()),
        (),
    )
    return replace(panel, texts=tuple(_captions(sketch, halves, letter, _box(panel), metrics)))


class _Drawing:
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
        width, height = _size(self.sketch, name, self.metrics)
        return Mark(name, node.look, Text(node.symbol, centre, self.metrics.name), width, height, node.double)

    def loops(self) -> None:
        """The arrows from a node to itself, in the next slot."""
        for half in self.halves:
            for edge in half.edges:
                if edge.tail == edge.head:
                    label = _before(self.sketch, edge)
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
        for turn in (0, 30, -30, 60, -60, 90, -90, 120, -120, 150, -150, 180):
            way = math.radians(wanted + turn)
            reach = 1 / math.hypot(math.cos(way) / (mark.width / 2), math.sin(way) / (mark.height / 2)) + 13
            centre = (mark.centre[0] + reach * math.cos(way), mark.centre[1] + reach * math.sin(way))
            square = Mark(child, "sub-model", Text(Symbol("", ""), centre, small), SQUARE, SQUARE)
            for side in (1, -1):
                at = (centre[0] + side * (SQUARE / 2 + 3), centre[1])
                text = Text(family, at, small, "left" if side == 1 else "right")
                room = [text_box(text), mark_box(square)]
                cost = sum(map(self.router.crowd, room)) + abs(turn) + (side == -1) + BLOCKED * self._intrudes(child, room)
                if best is None or cost < best[0]:
                    best = (cost, square, text)
        assert best is not None
        _, square, text = best
        curve = Router(self.marks).arrow(square, mark, child)
        self.squares.append(Factor(half.name, child, square.centre, curve, text))
        self.ends[half.name, child] = square
        self.held[child] += [mark_box(square), text_box(text)]
        self.router.boxes += [(mark_box(square), child), (text_box(text), "")]

    def _intrudes(self, child: str, room: Sequence[Box]) -> int:
        """How many marks a frame around a node would reach, if it held more."""
        found = 0
        for members in (group.members for group in self.sketch.groups if child in group.members):
            held = around([*room, *(box for name in self.marks if name in members for box in self.held[name])])
            found += self._reached(grown(held, self.metrics.margin), members)
        return found

    def _reached(self, box: Box, members: frozenset[str]) -> int:
        """How many marks a box reaches that are not of a group."""
        return sum(overlap(box, mark_box(mark)) for name, mark in self.marks.items() if name not in members)

    def frames(self) -> None:
        """Plates and sub-models, from the inside out."""
        made: list[tuple[Group, Frame]] = []
        for group in sorted(self.sketch.groups, key=lambda group: -len(group.members))[::-1]:
            held = [box for name in self.marks if name in group.members for box in self.held[name]]
            if held:
                inside = [_box_of(frame) for inner, frame in made if inner.members & self.marks.keys() <= group.members]
                label, whole = self.sketch.labels[group.name], around([*held, *inside])
                frames = [_frame(group, label, whole, self.metrics, lean) for lean in (0.5, 1.0, 0.0)]
                frame = min(frames, key=lambda frame: self._reached(_box_of(frame), group.members))
                made.append((group, self._cleared(frame, group.members)))
        self.framed = [frame for _, frame in reversed(made)]
        self.router.boxes += [(text_box(frame.label), "") for frame in self.framed]
        self.router.frames += [(_box_of(frame), group.members) for group, frame in made]

    def _cleared(self, frame: Frame, members: frozenset[str]) -> Frame:
        """As much wider to the right as it takes for arrows to leave the frame beside its label, where there is room."""
        edges = [edge for half in self.halves for edge in half.edges if (edge.tail in members) != (edge.head in members)]
        ways = [samples(bent(self.marks[edge.tail].centre, self.marks[edge.head].centre, 0)) for edge in edges]
        for more in range(0, 50, 5):
            wider = replace(frame, upper=(frame.upper[0] + more, frame.upper[1]), label=_moved(frame.label, float(more), 0.0))
            if more and self._reached(_box_of(wider), members):
                break
            if not any(holds(grown(text_box(wider.label), _CLEAR), way).any() for way in ways):
                return wider
        return frame

    def rows(self) -> None:
        """The plate of rows, around everything."""
        boxes = [*map(_box_of, self.framed), *map(mark_box, self.marks.values()), *(box for box, _ in self.router.boxes)]
        boxes += [curve_box(arrow.curve) for arrow in self.drawn]
        rows = Group("plate", "", frozenset(self.marks))
        self.framed.insert(0, _frame(rows, _ROWS, around(boxes), self.metrics))

    def parameters(self) -> None:
        """The parameters of the networks, outside of the plate of rows: on the left, and those of q over p on the right."""
        left, _, right, _ = _box_of(self.framed[0])
        for half in self.halves:
            heads = [name for name in half.learned if name in self.marks]
            if not heads:
                continue
            symbol = _PARAMETERS[half.name]
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
        return replace(arrow, label=self.router.label(arrow.curve, _before(self.sketch, edge), self.metrics.small))

    def _length(self, pair: tuple[Half, Edge]) -> tuple[int, float]:
        half, edge = pair
        return self.halves.index(half), math.dist(self.marks[edge.tail].centre, self.marks[edge.head].centre)


def _before(sketch: Sketch, edge: Edge) -> Symbol:
    """What stands at an arrow from the slot before."""
    index = sketch.index(edge.previous)
    return Symbol(f"{index.latex} - 1", f"{index.text}−1")


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


def _box_of(frame: Frame) -> Box:
    return *frame.lower, *frame.upper


def _box(panel: Panel) -> Box:
    """The box around everything in a panel."""
    texts = [*panel.texts, *(arrow.label for arrow in panel.arrows if arrow.label), *(each.caption for each in panel.factors)]
    boxes = [*map(_box_of, panel.frames), *map(mark_box, panel.marks), *map(text_box, texts)]
    boxes += [curve_box(arrow.curve) for arrow in panel.arrows]
    return around(boxes)


def _captions(sketch: Sketch, halves: Sequence[Half], letter: str, held: Box, metrics: Metrics) -> Iterable[Text]:
    """The factorisations below a panel, in as many lines as its width takes."""
    words = [f"({letter}) "] if letter else ["solid ", "dashed "] if len(halves) > 1 else [""]
    middle, up = (held[0] + held[2]) / 2, held[1] - 4 - metrics.band / 2
    for half, word in zip(halves, words, strict=True):
        pieces = [*([upright(word)] if word else []), *_factorisation(sketch, half)]
        note = sketch.derived if half.name == "q" else []
        width = max(held[2] - held[0], _CAPTION)
        for line in [*_lines(pieces, width, metrics.small), *(_lines(note, width, metrics.small) if note else [])]:
            yield Text(line, (middle, up), metrics.small)
            up -= metrics.band


def _factorisation(sketch: Sketch, half: Half) -> list[Symbol]:
    """`p_θ(x, z | c)` in pieces between which a line may end."""
    named = [sketch.symbol(name) for name in (*half.random, *half.given)]
    bar = len(half.random)
    side = _PARAMETERS[half.name]
    pieces = []
    for number, symbol in enumerate(named):
        before = (rf"{half.name}_{side.latex}(", f"{half.name}(") if number == 0 else ("", "")
        last = number + 1 == len(named)
        after = (")", ")") if last else (r" \mid ", " | ") if number + 1 == bar else (r",\,", ", ")
        pieces.append(Symbol(before[0] + symbol.latex + after[0], before[1] + symbol.text + after[1]))
    return pieces


def _lines(pieces: Sequence[Symbol], width: float, size: float) -> list[Symbol]:
    lines, used = [Symbol("", "")], 0.0
    for piece in pieces:
        more = extent(piece, size)[0]
        if lines[-1].text and used + more > width:
            lines.append(piece)
            used = more
        else:
            lines[-1] = Symbol(lines[-1].latex + piece.latex, lines[-1].text + piece.text)
            used += more
    return lines


def _beside(panels: Sequence[Panel]) -> list[Panel]:
    """Panels from left to right, their nodes at the height that they have, their outermost plates and captions level."""
    lowest = min(_box(replace(panel, texts=()))[1] for panel in panels)
    highest = max(_box(replace(panel, texts=()))[3] for panel in panels)
    left, moved = 0.0, []
    for panel in panels:
        down = lowest - _box(replace(panel, texts=()))[1]
        texts = tuple(_moved(text, 0.0, down) for text in panel.texts)
        frames = tuple(_stretched(frame, lowest, highest) if not frame.name else frame for frame in panel.frames)
        level = replace(panel, texts=texts, frames=frames)
        box = _box(level)
        moved.append(_moved(level, left - box[0], 0.0))
        left += box[2] - box[0] + _BETWEEN
    return moved


def _above(panels: Sequence[Panel]) -> list[Panel]:
    """Panels from top to bottom, so that a node stands below itself, their outermost plates level."""
    left, _, right, _ = around(_box(replace(panel, texts=())) for panel in panels)
    upper, moved = 0.0, []
    for panel in panels:
        middle = (left + right) / 2 - sum(_box(replace(panel, texts=()))[::2]) / 2
        texts = tuple(_moved(text, middle, 0.0) for text in panel.texts)
        frames = tuple(_widened(frame, left, right) if not frame.name else frame for frame in panel.frames)
        level = replace(panel, texts=texts, frames=frames)
        box = _box(level)
        moved.append(_moved(level, 0.0, upper - box[3]))
        upper -= box[3] - box[1] + _BETWEEN
    return moved


def _stretched(frame: Frame, lower: float, upper: float) -> Frame:
    label = _moved(frame.label, 0.0, lower - frame.lower[1])
    return replace(frame, label=label, lower=(frame.lower[0], lower), upper=(frame.upper[0], upper))


def _widened(frame: Frame, left: float, right: float) -> Frame:
    label = _moved(frame.label, right - frame.upper[0], 0.0)
    return replace(frame, label=label, lower=(left, frame.lower[1]), upper=(right, frame.upper[1]))


def _width(panels: Sequence[Panel]) -> float:
    box = around(map(_box, panels))
    return box[2] - box[0]


def _scene(sketch: Sketch, panels: list[Panel], metrics: Metrics, target: float) -> Scene:
    """The panels over their legend, in the middle of a picture as wide as was asked for."""
    box = around(map(_box, panels))
    wide = max(box[2] - box[0], target - 2 * _EDGE) if math.isfinite(target) else box[2] - box[0]
    if sketch.style.legend:
        panels = [*panels, _legend(sketch, panels, box, max(wide, _CAPTION), metrics)]
        box = around(map(_box, panels))
    width = max(box[2] - box[0] + 2 * _EDGE, target if math.isfinite(target) else 0.0)
    across = width / 2 - (box[0] + box[2]) / 2
    placed = tuple(_moved(panel, across, _EDGE - box[1]) for panel in panels)
    return Scene(sketch.graph.spec.model, _description(sketch), width, box[3] - box[1] + 2 * _EDGE, placed)


def _legend(sketch: Sketch, panels: Sequence[Panel], held: Box, width: float, metrics: Metrics) -> Panel:
    """What occurs in the panels and what it means, in lines below them."""
    looks = dict.fromkeys(mark.look for panel in panels for mark in panel.marks)
    sides = dict.fromkeys(arrow.side for panel in panels for arrow in panel.arrows)
    size, sample = metrics.small, 2.2 * metrics.small
    left, up = 0.0, held[1] - metrics.band
    marks: list[Mark] = []
    arrows: list[Arrow] = []
    texts: list[Text] = []
    for key in [*(key for key in _LEGEND if key in looks or key in sides)]:
        words = upright(_LEGEND[key])
        room = sample + 4 + extent(words, size)[0]
        if left and left + room > width:
            left, up = 0.0, up - 1.5 * metrics.band
        if key in ("p", "q"):
            line = ((left, up), (left + sample / 3, up), (left + 2 * sample / 3, up), (left + sample, up))
            arrows.append(Arrow(cast(Any, key), "", "", line))
        else:
            text = Text(Symbol("", ""), (left + sample / 2, up), size)
            marks.append(Mark(f"legend {key}", cast(Any, key), text, 1.3 * size, 1.3 * size, key == "deterministic"))
        texts.append(Text(words, (left + sample + 4, up), size, "left"))
        left += room + 10
    panel = Panel("legend", (), tuple(arrows), (), tuple(marks), tuple(texts))
    box = _box(panel)
    return _moved(panel, (held[0] + held[2]) / 2 - (box[0] + box[2]) / 2, 0.0)


def _description(sketch: Sketch) -> str:
    """The alternative text: what p and q are, and what is known."""
    graph = sketch.graph
    sentences = []
    for half, word in ((sketch.p, "generative"), (sketch.q, "recognition")):
        factors = " ".join(_conditional(half, name) for name in half.families)
        whole = factorised(half.name, half.random, half.given)
        sentences.append(f"The {word} model {whole} = {factors}." if factors != whole else f"The {word} model {whole}.")
    for role, words in (("observed", "observed"), ("supervised", "observed in some rows"), ("latent", "latent")):
        if names := graph.named(role):
            sentences.append(f"{', '.join(names)}: {words}.")
    return " ".join(sentences)


def _conditional(half: Half, name: str) -> str:
    parents = [f"{edge.tail}{' before' * bool(edge.previous)}" for edge in half.edges if edge.head == name]
    return factorised(half.name, [name], parents)


def _moved(part: Part, across: float, up: float) -> Part:
    """Anything of a scene, moved."""
    if isinstance(part, tuple) and len(part) == 2 and all(isinstance(number, float) for number in part):
        return cast(Part, (part[0] + across, part[1] + up))
    if isinstance(part, tuple):
        return cast(Part, tuple(_moved(each, across, up) for each in part))
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{each.name: _moved(getattr(part, each.name), across, up) for each in fields(part)})
    return part
