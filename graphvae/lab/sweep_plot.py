"""The figure of a sweep: a metric against the first key, a line for each point of the others, at the width of a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphvae.compiler.source import read_value
from graphvae.lab.grids import short_names
from graphvae.lab.sweep_tables import Metric, Row, SweepTable

COLUMN = 3.25  # inches
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # journals refuse Type 3
}
MARKERS = "osD^v<>ph*"
APART = 0.01  # of the width of all places, between the intervals of two lines at one of them
TICKS = 8  # so many values have a tick each


def plot(table: SweepTable, metric: Metric, joined: bool, paths: Sequence[Path]) -> None:
    """Draw a metric with its intervals.

    Args:
        table: The sweep's table; a row without the metric is left out.
        metric: What is drawn.
        joined: Whether the points of the other keys are lines, or all rows are one cloud.
        paths: The files, `.pdf` or `.png`.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 0.75 * COLUMN), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, table, metric, joined)
        for path in paths:
            figure.savefig(path, dpi=300, metadata={"CreationDate": None} if path.suffix == ".pdf" else None)


def _draw(axes: Axes, table: SweepTable, metric: Metric, joined: bool) -> None:
    key, *others = table.keys or (table.title,)
    rows = [row for row in table.rows if metric in row.estimates]
    places = _places([row.point.get(key, "") for row in rows])
    lines: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: places[row.point.get(key, "")]):
        pairs = zip(short_names(others), others, strict=True) if joined else ()
        lines.setdefault(", ".join(f"{name} {row.point[other]}" for name, other in pairs), []).append(row)
    for index, (label, line) in enumerate(lines.items()):
        aside = APART * (index - (len(lines) - 1) / 2)
        found = [row.estimates[metric] for row in line]
        axes.errorbar(
            [_moved(places[row.point.get(key, "")], aside, places) for row in line],
            [metric.scale * estimate.mean for estimate in found],
            [metric.scale * (estimate.half_width or 0.0) for estimate in found],
            label=label,
            marker=MARKERS[index % len(MARKERS)],
            linestyle="-" if joined else "none",
            markersize=3,
            linewidth=0.8,
            capsize=2,
        )
    axes.set(xlabel=key, ylabel=str(metric))
    if _is_logarithmic(places):
        axes.set_xscale("log")
    if joined and len(places) <= TICKS:
        axes.set_xticks(list(places.values()), labels=list(places))
        axes.minorticks_off()
    if joined and others:
        axes.legend(frameon=False)


def _places(texts: Sequence[str]) -> dict[str, float]:
    """Where each value stands: numbers at themselves, anything else at its turn."""
    unique = list(dict.fromkeys(texts))
    values: list[Any] = [read_value(text, "--grid")[0] if text else None for text in unique]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return dict(zip(unique, map(float, values if numeric else range(len(unique))), strict=True))


def _moved(place: float, aside: float, places: Mapping[str, float]) -> float:
    """A place moved aside by a share of the width of all."""
    least, most = min(places.values()), max(places.values())
    return place * (most / least) ** aside if _is_logarithmic(places) else place + (most - least) * aside


def _is_logarithmic(places: Mapping[str, float]) -> bool:
    """Whether the values span a decade."""
    return 0 < 10 * min(places.values()) <= max(places.values())
