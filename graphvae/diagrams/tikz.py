r"""A scene as TikZ, to be read by `\input` or to stand alone. The verb is `to_tikz`.

Nodes have names and stand at whole points; arrows join them by name, and bend by an angle, so that what is moved takes its
arrows with it. The styles stand once at the top.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from graphvae.diagrams.curves import at
from graphvae.diagrams.ink import DASHES, LINE
from graphvae.diagrams.metrics import SQUARE
from graphvae.diagrams.scene import Align, Arrow, Factor, Mark, Panel, Point, Scene, Text, over_arrows
from graphvae.diagrams.symbols import for_latex

_STYLES = {"p": "generative", "q": "recognition"}
LIBRARIES = r"\usetikzlibrary{arrows.meta, shapes.geometric}"
_HANDLE = 0.3915  # TikZ's handles of a bend, as a share of its length
_ANCHORS: dict[Align, str] = {"left": "mid west", "centre": "mid", "right": "mid east"}


def to_tikz(scene: Scene, standalone: bool = False) -> str:
    r"""The picture.

    >>> from graphvae.compiler.check import read_graph
    >>> from graphvae.diagrams.compose import compose
    >>> from graphvae.diagrams.sketch import sketch
    >>> text = to_tikz(compose(sketch(read_graph("specs/digits.yaml")), {}).scene)
    >>> [line.strip() for line in text.splitlines() if "(p-digit)" in line and "draw" in line]
    ['\\draw[generative] (p-digit) -- (p-image);']
    """
    picture = "\n".join(_picture(scene))
    if not standalone:
        return f"% {scene.title}: needs \\usepackage{{amsmath, tikz}} and {LIBRARIES}.\n{picture}\n"
    preamble = f"\\documentclass[tikz, border=2bp]{{standalone}}\n\\usepackage{{amsmath}}\n{LIBRARIES}\n"
    return f"{preamble}\\begin{{document}}\n{picture}\n\\end{{document}}\n"


def _picture(scene: Scene) -> Iterator[str]:
    yield from (f"% {line}" for line in textwrap.wrap(scene.description, 120))
    yield "\\begin{tikzpicture}[x=1bp, y=1bp, line width=" + f"{LINE}bp,"
    yield from (f"    {name}/.style={{{style}}}," for name, style in _styles(scene).items())
    yield "  ]"
    yield f"  \\path[use as bounding box] (0, 0) rectangle ({math.ceil(scene.width)}, {math.ceil(scene.height)});"
    for panel in scene.panels:
        yield f"  % {panel.name}"
        yield from (f"  {line}" for line in _panel(panel))
    yield "\\end{tikzpicture}"


def _styles(scene: Scene) -> dict[str, str]:
    """The looks by their names, with the sizes that most of this picture's variables and words have."""
    marks = [mark for panel in scene.panels for mark in panel.marks if panel.name != "legend"]
    small = min(text.size for text in _texts(scene))
    name = max(mark.text.size for mark in marks)
    half = r"path picture={\fill[black!25] (path picture bounding box.south west) rectangle (path picture bounding box.north);}"
    return {
        "outlined": f"draw, ellipse, inner sep=-4bp, {_font(name)}",
        "latent": "outlined, fill=white",
        "observed": "outlined, fill=black!25",
        "supervised": f"outlined, {half}",
        "deterministic": "outlined, twice",
        "twice": "double, double distance=1.2bp",
        "given": f"inner sep=2bp, {_font(name)}",
        "sub-model": "outlined, rectangle",
        "factor": f"fill, inner sep=0bp, minimum size={SQUARE:.0f}bp",
        "plate": "draw, rounded corners=4bp",
        "box": "draw",
        "words": f"inner sep=0bp, {_font(small)}",
        "over": "fill=white",
        "line": f"dash pattern=on {DASHES[0]:.0f}bp off {DASHES[1]:.0f}bp",
        "generative": "-{Stealth[length=5bp, width=3.8bp]}",
        "recognition": "generative, line",
    }


def _font(size: float) -> str:
    return rf"font=\fontsize{{{size:g}}}{{{1.2 * size:g}}}\selectfont"


def _texts(scene: Scene) -> Iterator[Text]:
    for panel in scene.panels:
        yield from (mark.text for mark in panel.marks)
        yield from (frame.label for frame in panel.frames)
        yield from panel.texts


def _panel(panel: Panel) -> Iterator[str]:
    for frame in panel.frames:
        yield f"\\draw[{'plate' if frame.kind == 'plate' else 'box'}] {_at(frame.lower)} rectangle {_at(frame.upper)};"
        yield _words(frame.label)
    marks = {mark.name: mark for mark in panel.marks}
    for mark in panel.marks:
        yield _mark(panel, mark)
    for factor in panel.factors:
        name = _factor_name(panel, factor.side, factor.child)
        yield f"\\node[factor] ({name}) at {_at(factor.centre)} {{}};"
        yield f"\\draw[{_STYLES[factor.side]}] ({name}) -- ({_name(panel, factor.child)});"
    for arrow in panel.arrows:
        yield _arrow(panel, arrow, marks)
    yield from (_words(text, "over, ") for text in over_arrows(panel))
    yield from map(_words, panel.texts)


def _mark(panel: Panel, mark: Mark) -> str:
    """A node, with its size where that is not the usual one."""
    size = [] if mark.look == "given" else [f"minimum width={mark.width:.0f}bp", f"minimum height={mark.height:.0f}bp"]
    looks = [mark.look, *["twice"] * (mark.double and mark.look != "deterministic"), *size]
    return f"\\node[{', '.join(looks)}] ({_name(panel, mark.name)}) at {_at(mark.centre)} {{{_maths(mark.text)}}};"


def _arrow(panel: Panel, arrow: Arrow, marks: Mapping[str, Mark]) -> str:
    style = _STYLES[arrow.side] + ", -" * (not arrow.pointed)
    if not arrow.tail:
        return f"\\draw[{style}] {_at(arrow.curve[0])} -- {_at(arrow.curve[-1])};"
    tail, curve = _name(panel, arrow.tail), arrow.curve
    if arrow.tail == arrow.head:
        (out, _), (back, _) = (_polar(marks[arrow.tail].centre, curve[end]) for end in (0, -1))
        handles = [_polar(curve[end], curve[next_]) for end, next_ in ((0, 1), (-1, -2))]
        controls = " and ".join(f"+({angle}:{length:.0f})" for angle, length in handles)
        return f"\\draw[{style}] ({tail}.{out}) .. controls {controls} .. ({tail}.{back});"
    head = _name(panel, arrow.head) if arrow.pointed else _factor_name(panel, arrow.side, arrow.head)
    end = marks[arrow.head].centre if arrow.pointed else next(f.centre for f in panel.factors if _is_of(f, arrow))
    angle = _bend(curve, marks[arrow.tail].centre, end)
    way = f"to[bend {'left' if angle > 0 else 'right'}={abs(angle)}]" if angle else "--"
    return f"\\draw[{style}] ({tail}) {way} ({head});"


def _is_of(factor: Factor, arrow: Arrow) -> bool:
    return (factor.side, factor.child) == (arrow.side, arrow.head)


def _bend(curve: Sequence[Point], start: Point, end: Point) -> int:
    """The angle of TikZ's bend to the left that comes as far from the straight line as a curve between two outlines does."""
    length = math.dist(start, end)
    aside = at(tuple(curve), 0.5)
    far = ((end[0] - start[0]) * (aside[1] - start[1]) - (end[1] - start[1]) * (aside[0] - start[0])) / length
    radius = (math.dist(start, curve[0]) + math.dist(end, curve[-1])) / 2

    def reached(degrees: int) -> float:
        angle = math.radians(degrees)
        return math.sin(angle) * (radius + 0.75 * _HANDLE * (length - 2 * radius * math.cos(angle)))

    best = min(range(90), key=lambda degrees: abs(reached(degrees) - abs(far)))
    return round(math.copysign(best, far)) if best > 1 else 0


def _polar(start: Point, end: Point) -> tuple[int, float]:
    """The direction and the distance from a point to another."""
    return round(math.degrees(math.atan2(end[1] - start[1], end[0] - start[0]))), math.dist(start, end)


def _words(text: Text, look: str = "") -> str:
    return f"\\node[words, {look}anchor={_ANCHORS[text.align]}] at {_at(text.at)} {{{_maths(text)}}};"


def _maths(text: Text) -> str:
    return f"${for_latex(text.symbol.latex)}$" if text.symbol.latex else ""


def _at(point: Point) -> str:
    return f"({point[0]:.0f}, {point[1]:.0f})"


def _name(panel: Panel, name: str) -> str:
    """A name that TikZ can read, where a dot leads to an anchor."""
    plain = re.sub("[. ]", "-", name)
    return f"{panel.name}-" + "".join(letter if letter.isascii() else f"u{ord(letter):x}" for letter in plain)


def _factor_name(panel: Panel, side: str, child: str) -> str:
    return f"{_name(panel, child)}-factor-{side}"
