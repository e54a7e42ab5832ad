"""One run of a sweep, in a process of its own: `python -m graphvae.lab.sweep_run SWEEP NAME [PLUGIN]`.

It trains, or goes on from the checkpoint, and measures the result on test and validation rows. A person's mistake is printed
and ends in exit code 2. It stops with the process that started it, whose end of its standard input it watches.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from threading import Thread

import torch

from graphvae.compiler.errors import RunError, UserError
from graphvae.compiler.plugins import read_plugin
from graphvae.lab import runs, training
from graphvae.lab.data import load_data
from graphvae.lab.evaluation import evaluate, measure
from graphvae.lab.sweep_record import VALIDATION, Record


def main() -> None:
    """Do the run that the command line names."""
    Thread(target=_stop_with_the_sweep, daemon=True).start()
    sweep, name, *plugin = sys.argv[1:]
    try:
        torch.set_num_threads(Record.read(Path(sweep)).threads)
        work(Path(sweep), name, *plugin)
    except UserError as error:
        print(error.in_full)
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
    model, checkpoint = runs.load(run), run.checkpoint()
    assert checkpoint is not None
    dataset = load_data(run.compile().graph, model.variables, Path(record.data) if record.data else None)
    if len(next(iter(dataset.test.values()))):
        evaluate(run, record.samples, record.data)
    if dataset.validation:
        run.write_json(VALIDATION, asdict(measure(model, dataset, dataset.validation, record.samples, checkpoint.epoch)))


def _stop_with_the_sweep() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
