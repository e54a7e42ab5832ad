"""Evaluation of a run on its test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path

import torch
from rich.table import Table as Printed

from graphvae.compiler.errors import RunError
from graphvae.lab import runs
from graphvae.lab.data import Dataset, Table, load_data
from graphvae.lab.runs import Run
from graphvae.lab.scores import By, Score, errors, predict
from graphvae.lab.transforms import Coding, rescales
from graphvae.runtime import Model


@dataclass(frozen=True)
class Evaluation:
    """What was measured on some rows, mostly those for the test.

    `predictions` by variable and way of predicting; `log_evidence` is the mean of log p over rows in nats, with the standard
    error that importance sampling leaves (`noise`) and that of the mean over rows (`rows`); `effective_samples` is the mean
    effective sample size of the importance weights. `density` is false where a soft likelihood makes the score no density, and
    `rescaled` are the observed variables whose transforms have changed the units that log p(row) is a density in.
    """

    epoch: int
    rows: int
    samples: int
    predictions: Mapping[str, Mapping[By, Score]]
    log_evidence: float
    log_evidence_error: Mapping[str, float]
    effective_samples: float
    density: bool
    rescaled: Sequence[str]

    def table(self) -> Printed:
        """The figures as a table for the terminal."""
        title = f"{self.rows:,} test rows after epoch {self.epoch}, {self.samples} samples a row"
        table = Printed("", "mean", "s.e. over rows", "s.e. of sampling", title=title, title_justify="left")
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
        if self.rescaled:
            density = "log p(row)" if self.density else "the log score"
            table.caption = f"{density} is in the units after the transforms of {', '.join(self.rescaled)}"
            table.caption_justify = "left"
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

    >>> import graphvae
    >>> run = graphvae.train("specs/digits.yaml", ["training.epochs=1"])
    >>> found = evaluate(run, samples=2)
    >>> found.rows, list(found.predictions["digit"]), found.predictions["digit"]["q"].kind
    (359, ['q', 'importance'], 'error')
    """
    opened = runs.open_run(run, plugin)
    model, checkpoint = runs.load(opened), opened.checkpoint()
    folder = data or opened.manifest["data"]["folder"]
    coding = Coding.of(opened.manifest["data"]["coding"])
    dataset = load_data(opened.compile().graph, model.variables, Path(folder) if folder else None, coding)
    if checkpoint is None or not len(next(iter(dataset.test.values()))):
        raise RunError.of("GV401", f"{opened.folder} has no test rows to evaluate on")
    found = measure(model, dataset, dataset.test, samples, checkpoint.epoch)
    opened.write_json("evaluation.json", asdict(found))
    return found


def measure(model: Model, dataset: Dataset, rows: Table, samples: int, epoch: int) -> Evaluation:
    """The figures of a model after an epoch on some rows of a dataset, errors in the data's own units."""
    truth, generator = dataset.in_units(rows), torch.Generator().manual_seed(0)
    by_q = predict(model, rows, "q", samples, generator)
    by_importance = predict(model, rows, "importance", samples, generator)
    scores: dict[By, dict[str, Score]] = {
        "q": errors(model, dataset.in_units(by_q.means), truth),
        "importance": errors(model, dataset.in_units(by_importance.means), truth),
    }
    assert by_importance.evidence is not None
    value, error, effective = (part.double() for part in by_importance.evidence)
    count, observed = len(value), [name for name, variable in model.variables.items() if variable.role == "observed"]
    return Evaluation(
        epoch=epoch,
        rows=count,
        samples=samples,
        predictions={name: {by: found[name] for by, found in scores.items()} for name in scores["q"]},
        log_evidence=value.mean().item(),
        log_evidence_error={"noise": error.square().sum().sqrt().item() / count, "rows": value.std().item() / sqrt(count)},
        effective_samples=effective.mean().item(),
        density=not any(model.variables[name].soft for name in observed),
        rescaled=[name for name in observed if rescales(dataset.steps.get(name, ()))],
    )
