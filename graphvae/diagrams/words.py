"""What is said below a picture, and in its place: `captions`, `legend` and `description`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from graphvae.compiler.graph import factorised
from graphvae.diagrams.arrange import panel_box
from graphvae.diagrams.curves import Box
from graphvae.diagrams.metrics import Metrics
from graphvae.diagrams.scene import Arrow, Mark, Panel, Text, moved
from graphvae.diagrams.sketch import PARAMETERS, Half, Sketch, upright
from graphvae.diagrams.symbols import Symbol
from graphvae.diagrams.typeset import extent

CAPTION = 110.0
_LEGEND = {
    "latent": "latent",
    "observed": "observed",
    "supervised": "observed in some rows",
    "deterministic": "deterministic",
    "p": "generative",
    "q": "recognition",
}


def captions(sketch: Sketch, halves: Sequence[Half], letter: str, held: Box, metrics: Metrics) -> Iterable[Text]:
    """The factorisations below a panel, in as many lines as its width takes."""
    words = [f"({letter}) "] if letter else ["solid ", "dashed "] if len(halves) > 1 else [""]
    middle, up = (held[0] + held[2]) / 2, held[1] - 4 - metrics.band / 2
    for half, word in zip(halves, words, strict=True):
        pieces = [*([upright(word)] if word else []), *_factorisation(sketch, half)]
        note = sketch.derived if half.name == "q" else []
        width = max(held[2] - held[0], CAPTION)
        for line in [*_lines(pieces, width, metrics.small), *(_lines(note, width, metrics.small) if note else [])]:
            yield Text(line, (middle, up), metrics.small)
            up -= metrics.band


def _factorisation(sketch: Sketch, half: Half) -> list[Symbol]:
    """`p_θ(x, z | c)` in pieces between which a line may end."""
    named = [sketch.symbol(name) for name in (*half.random, *half.given)]
    bar = len(half.random)
    side = PARAMETERS[half.name]
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


def legend(sketch: Sketch, panels: Sequence[Panel], held: Box, width: float, metrics: Metrics) -> Panel:
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
    box = panel_box(panel)
    return moved(panel, (held[0] + held[2]) / 2 - (box[0] + box[2]) / 2, 0.0)


def description(sketch: Sketch) -> str:
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
