"""One run of a sweep, in a process of its own: `python -m graphvae.lab.sweep_run SWEEP NAME [PLUGIN]`.

It trains, or goes on from the checkpoint, and measures the result on test and validation rows. A person's mistake is printed
and ends in exit code 2. It stops with the process that started it, whose end of its standard input it watches.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from torch import Tensor

from graphvae.compiler.errors import RunError, UserError
from graphvae.compiler.plugins import read_plugin
from graphvae.lab import runs, training
from graphvae.lab.data import load_data
from graphvae.lab.evaluation import evaluate
from graphvae.lab.scores import errors, predict
from graphvae.lab.sweep_record import Record
from graphvae.runtime import Model

VALIDATION = "validation.json"


def main() -> None:
    """Do the run that the command line names."""
    Thread(target=_stop_with_the_sweep, daemon=True).start()
    sweep, name, *plugin = sys.argv[1:]
    try:
        torch.set_num_threads(Record.read(Path(sweep)).threads)
        work(Path(sweep), name, *plugin)
    except UserError as error:
        print(error)
        sys.exit(2)


def work(sweep: Path, name: str, plugin: str | None = None) -> None:
    """Train a run of a sweep to its end, and measure it on the rows for test and validation that there are.

    Raises:
        UserError: For everything that a training, a run folder or a plugin may be refused for.
    """
    record, folder = Record.read(sweep), sweep / name
    if plugin and read_plugin(plugin).sha256 != record.plugin:
        raise RunError.of("GV401", f"the plugin {plugin} has changed since {sweep} was begun: its checksum differs")
    if (folder / "manifest.json").exists():
        run = training.resume(folder, record.data, plugin=plugin)
    else:
        run = training.train(sweep / record.spec, record.runs[name].settings, record.data, folder, plugin=plugin)
    model = runs.load(run)
    dataset = load_data(run.compile().graph, model.variables, Path(record.data) if record.data else None)
    if len(next(iter(dataset.test.values()))):
        evaluate(run, record.samples, record.data)
    if dataset.validation:
        run.write_json(VALIDATION, _validate(model, dataset.validation, record.samples))


def _validate(model: Model, table: Mapping[str, Tensor], samples: int) -> dict[str, Any]:
    """The errors and the evidence on validation rows, by the names of `evaluation.json`."""
    generator = torch.Generator().manual_seed(0)
    by_q = predict(model, table, "q", samples, generator)
    by_importance = predict(model, table, "importance", samples, generator)
    assert by_importance.evidence is not None
    scores = {"q": errors(model, by_q.means, table), "importance": errors(model, by_importance.means, table)}
    return {
        "predictions": {name: {by: asdict(found[name]) for by, found in scores.items()} for name in scores["q"]},
        "log_evidence": by_importance.evidence.value.double().mean().item(),
        "density": not any(variable.soft for variable in model.variables.values() if variable.role == "observed"),
    }


def _stop_with_the_sweep() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
