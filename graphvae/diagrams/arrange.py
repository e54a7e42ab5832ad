"""Panels become one picture: `beside` each other or one `above` the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from graphvae.diagrams.curves import Box, around, curve_box, mark_box
from graphvae.diagrams.scene import Frame, Panel, Point, moved, over_arrows
from graphvae.diagrams.typeset import box as text_box

_BETWEEN = 16.0


def beside(panels: Sequence[Panel]) -> list[Panel]:
    """Panels from left to right, their nodes at the height that they have, their outermost plates and captions level."""
    bodies = [panel_box(replace(panel, texts=())) for panel in panels]
    _, lowest, _, highest = around(bodies)
    left, placed = 0.0, []
    for panel, body in zip(panels, bodies, strict=True):
        level = _levelled(panel, (0.0, lowest - body[1]), lambda plate: (plate[0], lowest, plate[2], highest))
        box = panel_box(level)
        placed.append(moved(level, left - box[0], 0.0))
        left += box[2] - box[0] + _BETWEEN
    return placed


def above(panels: Sequence[Panel]) -> list[Panel]:
    """Panels from top to bottom, so that a node stands below itself, their outermost plates level."""
    bodies = [_rows(panel) or panel_box(replace(panel, texts=())) for panel in panels]
    left, _, right, _ = around(bodies)
    upper, placed = 0.0, []
    for panel, body in zip(panels, bodies, strict=True):
        middle = (left + right) / 2 - (body[0] + body[2]) / 2
        level = _levelled(panel, (middle, 0.0), lambda plate: (left, plate[1], right, plate[3]))
        box = panel_box(level)
        placed.append(moved(level, 0.0, upper - box[3]))
        upper -= box[3] - box[1] + _BETWEEN
    return placed


def _rows(panel: Panel) -> Box | None:
    """The plate of rows, outside of which parameters stand."""
    return next((frame.box for frame in panel.frames if not frame.name), None)


def _levelled(panel: Panel, way: Point, resized: Callable[[Box], Box]) -> Panel:
    """A panel with its captions moved, and its plate of rows given other edges."""
    texts = tuple(moved(text, *way) for text in panel.texts)
    frames = tuple(frame if frame.name else _with_edges(frame, *resized(frame.box)) for frame in panel.frames)
    return replace(panel, texts=texts, frames=frames)


def _with_edges(frame: Frame, left: float, lower: float, right: float, upper: float) -> Frame:
    """Its label stays in its corner, at the lower right."""
    label = moved(frame.label, right - frame.upper[0], lower - frame.lower[1])
    return replace(frame, label=label, lower=(left, lower), upper=(right, upper))


def total_width(panels: Sequence[Panel]) -> float:
    """From the left edge of the leftmost to the right edge of the rightmost."""
    box = around(map(panel_box, panels))
    return box[2] - box[0]


def panel_box(panel: Panel) -> Box:
    """The box around everything in a panel."""
    boxes = [*(frame.box for frame in panel.frames), *map(mark_box, panel.marks)]
    boxes += map(text_box, (*panel.texts, *over_arrows(panel)))
    boxes += [curve_box(arrow.curve) for arrow in panel.arrows]
    return around(boxes)
