"""Evaluation of a run on its test rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path

import torch
from rich.table import Table

from graphvae.compiler.errors import RunError
from graphvae.lab import runs
from graphvae.lab.data import Dataset, load_data
from graphvae.lab.runs import Run
from graphvae.lab.scores import By, Score, errors, predict
from graphvae.lab.transforms import Coding
from graphvae.runtime import Model


@dataclass(frozen=True)
class Evaluation:
    """What was measured on the test rows.

    `predictions` by variable and way of predicting; `log_evidence` is the mean of log p over rows in nats, with the standard
    error that importance sampling leaves (`noise`) and that of the mean over rows (`rows`); `effective_samples` is the mean
    effective sample size of the importance weights. `density` is false where a soft likelihood makes the score no density.
    """

    epoch: int
    rows: int
    samples: int
    predictions: Mapping[str, Mapping[By, Score]]
    log_evidence: float
    log_evidence_error: Mapping[str, float]
    effective_samples: float
    density: bool

    def table(self) -> Table:
        """The figures as a table for the terminal."""
        title = f"{self.rows:,} test rows after epoch {self.epoch}, {self.samples} samples a row"
        table = Table("", "mean", "s.e. over rows", "s.e. of sampling", title=title, title_justify="left")
        for name, ways in self.predictions.items():
            for by, score in ways.items():
                scale, unit = (100, " %") if score.kind == "error" else (1, "")
                way = "by q" if by == "q" else "by p and q"
                mean, error = scale * score.value, scale * score.standard_error
                table.add_row(f"{score.kind} of {name} {way}", f"{mean:.4g}{unit}", f"{error:.2g}{unit}")
        noise, rows = self.log_evidence_error["noise"], self.log_evidence_error["rows"]
        evidence = "log p(row), nats" if self.density else "log score, nats (soft: no density)"
        table.add_row(evidence, f"{self.log_evidence:.6g}", f"{rows:.2g}", f"{noise:.2g}")
        table.add_row("effective sample size", f"{self.effective_samples:.4g}")
        return table


def evaluate(
    run: str | Path | Run, samples: int = 50, data: str | Path | None = None, plugin: str | Path | None = None
) -> Evaluation:
    """Evaluate a run's last checkpoint on its test rows, and write `evaluation.json` beside it.

    Args:
        run: The run or its folder.
        samples: Samples a row, of the predictions by importance, of the evidence, and of the effective sample size.
        data: Where the data's files are now; None for where they were.
        plugin: The plugin that it was trained with, if any.

    Raises:
        RunError: If there is no such run, no checkpoint in it, no test rows in its data, or another plugin.
    """
    opened = runs.open_run(run, plugin)
    model, checkpoint = runs.load(opened), opened.checkpoint()
    folder = data or opened.manifest["data"]["folder"]
    coding = Coding.of(opened.manifest["data"]["coding"])
    dataset = load_data(opened.compile().graph, model.variables, Path(folder) if folder else None, coding)
    if checkpoint is None or not len(next(iter(dataset.test.values()))):
        raise RunError.of("GV401", f"{opened.folder} has no test rows to evaluate on")
    found = _measure(model, dataset, samples, checkpoint.epoch)
    opened.write_json("evaluation.json", asdict(found))
    return found


def _measure(model: Model, dataset: Dataset, samples: int, epoch: int) -> Evaluation:
    test, truth = dataset.test, dataset.in_units(dataset.test)
    generator = torch.Generator().manual_seed(0)
    by_q = predict(model, test, "q", samples, generator)
    by_importance = predict(model, test, "importance", samples, generator)
    scores: dict[By, dict[str, Score]] = {
        "q": errors(model, dataset.in_units(by_q.means), truth),
        "importance": errors(model, dataset.in_units(by_importance.means), truth),
    }
    assert by_importance.evidence is not None
    value, error, effective = (part.double() for part in by_importance.evidence)
    rows = len(value)
    return Evaluation(
        epoch=epoch,
        rows=rows,
        samples=samples,
        predictions={name: {by: found[name] for by, found in scores.items()} for name in scores["q"]},
        log_evidence=value.mean().item(),
        log_evidence_error={"noise": error.square().sum().sqrt().item() / rows, "rows": value.std().item() / sqrt(rows)},
        effective_samples=effective.mean().item(),
        density=not any(variable.soft for variable in model.variables.values() if variable.role == "observed"),
    )
