"""Panels become one picture: `beside` each other or one `above` the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphvae.diagrams.curves import Box, around, curve_box, mark_box
from graphvae.diagrams.scene import Frame, Panel, moved
from graphvae.diagrams.typeset import box as text_box

_BETWEEN = 16.0


def beside(panels: Sequence[Panel]) -> list[Panel]:
    """Panels from left to right, their nodes at the height that they have, their outermost plates and captions level."""
    lowest = min(panel_box(replace(panel, texts=()))[1] for panel in panels)
    highest = max(panel_box(replace(panel, texts=()))[3] for panel in panels)
    left, placed = 0.0, []
    for panel in panels:
        down = lowest - panel_box(replace(panel, texts=()))[1]
        texts = tuple(moved(text, 0.0, down) for text in panel.texts)
        frames = tuple(_stretched(frame, lowest, highest) if not frame.name else frame for frame in panel.frames)
        level = replace(panel, texts=texts, frames=frames)
        box = panel_box(level)
        placed.append(moved(level, left - box[0], 0.0))
        left += box[2] - box[0] + _BETWEEN
    return placed


def above(panels: Sequence[Panel]) -> list[Panel]:
    """Panels from top to bottom, so that a node stands below itself, their outermost plates level."""
    left, _, right, _ = around(panel_box(replace(panel, texts=())) for panel in panels)
    upper, placed = 0.0, []
    for panel in panels:
        middle = (left + right) / 2 - sum(panel_box(replace(panel, texts=()))[::2]) / 2
        texts = tuple(moved(text, middle, 0.0) for text in panel.texts)
        frames = tuple(_widened(frame, left, right) if not frame.name else frame for frame in panel.frames)
        level = replace(panel, texts=texts, frames=frames)
        box = panel_box(level)
        placed.append(moved(level, 0.0, upper - box[3]))
        upper -= box[3] - box[1] + _BETWEEN
    return placed


def _stretched(frame: Frame, lower: float, upper: float) -> Frame:
    label = moved(frame.label, 0.0, lower - frame.lower[1])
    return replace(frame, label=label, lower=(frame.lower[0], lower), upper=(frame.upper[0], upper))


def _widened(frame: Frame, left: float, right: float) -> Frame:
    label = moved(frame.label, right - frame.upper[0], 0.0)
    return replace(frame, label=label, lower=(left, frame.lower[1]), upper=(right, frame.upper[1]))


def total_width(panels: Sequence[Panel]) -> float:
    """From the left edge of the leftmost to the right edge of the rightmost."""
    box = around(map(panel_box, panels))
    return box[2] - box[0]


def panel_box(panel: Panel) -> Box:
    """The box around everything in a panel."""
    texts = [*panel.texts, *(arrow.label for arrow in panel.arrows if arrow.label), *(each.caption for each in panel.factors)]
    boxes = [*(frame.box for frame in panel.frames), *map(mark_box, panel.marks), *map(text_box, texts)]
    boxes += [curve_box(arrow.curve) for arrow in panel.arrows]
    return around(boxes)
