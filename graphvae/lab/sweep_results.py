"""What the runs of a sweep came to: the figures of each from the files in its folder, and the table of all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphvae.lab.runs import Run
from graphvae.lab.sweep_record import VALIDATION, Record
from graphvae.lab.sweep_tables import Estimate, Metric, Row, SweepTable

CHOICE = "validation "  # what the names of metrics that one may choose by begin with


def tabulate(folder: Path, record: Record) -> SweepTable:
    """The table of a sweep: a row a point, over those of its runs that are done."""
    found = {name: measured(folder / name) for name, entry in record.runs.items() if entry.state == "done"}
    points: dict[tuple[str, ...], list[str]] = {}
    for name, entry in record.runs.items():
        points.setdefault(tuple(entry.point.values()), []).append(name)
    rows = tuple(
        _row(record.runs[names[0]].point, len(names), [found[name] for name in names if name in found])
        for names in points.values()
    )
    keys = tuple(next(iter(record.runs.values())).point) if record.runs else ()
    metrics = tuple(dict.fromkeys(metric for row in rows for metric in row.estimates))
    return SweepTable(f"{record.model}, {folder.name}", _note(folder, record), keys, metrics, rows)


def measured(run: Path) -> dict[Metric, float]:
    """The figures of a run: on test rows, on validation rows, and the seconds of its training."""
    test, validation = _read(run / "evaluation.json"), _read(run / VALIDATION)
    return {
        **_scores(test, ""),
        **({Metric("effective samples"): test["effective_samples"]} if test else {}),
        **_scores(validation, CHOICE),
        Metric("training", "s"): sum(line["seconds"] for line in Run(run).metrics()),
    }


def choice(run: Path) -> float:
    """What a search makes small: the validation error of the first supervised variable by q, or minus the log evidence."""
    validation = _read(run / VALIDATION)
    errors = [ways["q"]["value"] for ways in validation["predictions"].values()]
    return float(errors[0] if errors else -validation["log_evidence"])


def _row(point: Mapping[str, str], runs: int, found: list[dict[Metric, float]]) -> Row:
    metrics = dict.fromkeys(metric for figures in found for metric in figures)
    values = {metric: [figures[metric] for figures in found if metric in figures] for metric in metrics}
    return Row(point, len(found), runs, {metric: Estimate.over(each) for metric, each in values.items()})


def _scores(found: Mapping[str, Any], before: str) -> dict[Metric, float]:
    if not found:
        return {}
    errors = {
        Metric(f"{before}{score['kind']} of {name} {'by q' if by == 'q' else 'by p and q'}", _unit(score)): score["value"]
        for name, ways in found["predictions"].items()
        for by, score in ways.items()
    }
    evidence = "log evidence" if found["density"] else "log score"  # a soft likelihood is no density
    return {**errors, Metric(f"{before}{evidence}", "nats"): found["log_evidence"]}


def _unit(score: Mapping[str, Any]) -> str:
    return "%" if score["kind"] == "error" else ""


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def _note(folder: Path, record: Record) -> str:
    """How the numbers came about, as a caption says it."""
    seeds = "the draws of labels, the initial weights, the order of rows and the noise"
    if record.search:
        runs = "One run a trial, and so no interval"
    elif record.seeds is None:
        runs = "One run a point, and so no interval; seeds as in the spec"
    elif record.seeds == 1:
        runs = f"One run a point, and so no interval; seed 0 for {seeds}"
    else:
        runs = (
            f"Mean and 95 % interval by Student's t over {record.seeds} runs a point, seeds 0 to {record.seeds - 1} for {seeds}"
        )
    found = next(filter(None, (_read(folder / name / "evaluation.json") for name in record.runs)), {})
    rows = f"; {found['rows']:,} test rows" if found else ""
    units = found.get("rescaled") or ()
    evidence = f" The log evidence is in the units after the transforms of {', '.join(units)}." if units else ""
    return f"{runs}{rows}, {record.samples} samples a row.{evidence}"
