"""The table of a sweep: a row a point, what was measured as mean and 95 % interval over runs; in four formats."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, isnan, log10, nan, sqrt

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from scipy.special import stdtrit

from graphvae.lab.grids import Point, short_names

_LATEX = str.maketrans(
    {letter: f"\\{letter}" for letter in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}"}
)


@dataclass(frozen=True)
class Metric:
    """What is measured of a run. A share is shown in per cent."""

    name: str
    unit: str = ""

    @property
    def scale(self) -> float:
        """What a value is multiplied by to be shown in the unit."""
        return 100.0 if self.unit == "%" else 1.0

    def __str__(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class Estimate:
    """A mean over runs, and half the width of its 95 % interval; None for a single run."""

    mean: float
    half_width: float | None

    @classmethod
    def over(cls, values: Sequence[float]) -> Estimate:
        """The mean of normal values of unknown variance: t(0.975; n - 1) s / sqrt(n) on either side (Student 1908)."""
        runs = len(values)
        if runs == 1:
            return cls(values[0], None)
        with np.errstate(invalid="ignore"):
            mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
        return cls(mean, float(stdtrit(runs - 1, 0.975)) * deviation / sqrt(runs))

    def shown(self, scale: float = 1.0, between: str = " ± ") -> str:
        """The mean to the place of the second digit of the half-width, or to four digits.

        >>> Estimate(0.12345, 0.0123).shown(100), Estimate(0.12345, None).shown(100)
        ('12.3 ± 1.2', '12.35')
        """
        mean, half = scale * self.mean, self.half_width
        if half is None or not isfinite(half) or half == 0:
            return f"{mean:.4g}" + ("" if half is None else f"{between}{half:g}")
        places = max(0, 1 - floor(log10(scale * half)))
        return f"{mean:.{places}f}{between}{scale * half:.{places}f}"


@dataclass(frozen=True)
class Row:
    """A point, how many of its runs are done, of how many, and what was measured of those."""

    point: Point
    done: int
    runs: int
    estimates: Mapping[Metric, Estimate]


@dataclass(frozen=True)
class SweepTable:
    """The rows of a sweep; `title` and `note` say what they are and how they came about."""

    title: str
    note: str
    keys: tuple[str, ...]
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]

    def terminal(self) -> Group:
        """The table for the terminal, its note below."""
        table = Table(title=escape(self.title), title_justify="left", box=SIMPLE_HEAD)
        for heading in self._headings():
            table.add_column(escape(heading), justify="right")
        for row in self.rows:
            table.add_row(*map(escape, self._texts(row)), *self._numbers(row, " ± "))
        return Group(table, Text(self.note))

    def csv(self) -> str:
        """Every mean and half-width at full precision, shares as they are; an empty field where there is none."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        ends = [f"{metric.name}{end}" for metric in self.metrics for end in ("", ": half-width")]
        writer.writerow([*self.keys, "runs", *ends])
        for row in self.rows:
            found = [row.estimates.get(metric, Estimate(nan, None)) for metric in self.metrics]
            numbers = [number for estimate in found for number in (estimate.mean, estimate.half_width)]
            fields = ["" if number is None or isnan(number) else repr(number) for number in numbers]
            writer.writerow([*(row.point[key] for key in self.keys), row.done, *fields])
        return text.getvalue()

    def markdown(self) -> str:
        """The table as GitHub reads it, its note below."""
        rule = ["---"] * len(self.keys) + ["---:"] * (1 + len(self.metrics))
        lines = [self._headings(), rule, *(self._texts(row) + self._numbers(row, " ± ") for row in self.rows)]
        piped = ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines]
        return "\n".join([*piped, "", self.note, ""])

    def latex(self) -> str:
        """A floating table in the style of the `booktabs` package."""
        lines = [_latex_line(self._texts(row), self._numbers(row, r" \pm ")) for row in self.rows]
        body = [r"\toprule", _latex_line(self._headings(), []), r"\midrule", *lines, r"\bottomrule"]
        columns = "l" * len(self.keys) + "r" * (1 + len(self.metrics))
        caption = f"{self.title}. {self.note}".translate(_LATEX)
        begin = [r"% \usepackage{booktabs}", r"\begin{table}", r"  \centering", f"  \\caption{{{caption}}}"]
        tabular = [f"  \\begin{{tabular}}{{{columns}}}", *(f"    {line}" for line in body), r"  \end{tabular}"]
        return "\n".join([*begin, *tabular, r"\end{table}", ""])

    def _headings(self) -> list[str]:
        return [*short_names(self.keys), "runs", *map(str, self.metrics)]

    def _texts(self, row: Row) -> list[str]:
        return [*(row.point[key] for key in self.keys), f"{row.done}" + f" of {row.runs}" * (row.done < row.runs)]

    def _numbers(self, row: Row, between: str) -> list[str]:
        found = [(row.estimates.get(metric), metric.scale) for metric in self.metrics]
        return [estimate.shown(scale, between) if estimate else "" for estimate, scale in found]


def _latex_line(texts: Sequence[str], numbers: Sequence[str]) -> str:
    cells = [text.translate(_LATEX) for text in texts] + [f"${number}$" if number else "" for number in numbers]
    return " & ".join(cells) + r" \\"
