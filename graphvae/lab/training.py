"""Training: our loop on Lightning Fabric's engine.

Everything random is a function of a seed and a count: the order of (order seed, epoch), the noise of (noise seed, step). A
run that is killed and resumed therefore ends with the numbers of one that was never stopped.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from pydantic_core import to_jsonable_python
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from graphvae.compiler.errors import RunError
from graphvae.compiler.pipeline import Compilation, compile_file
from graphvae.compiler.spec import Schedule
from graphvae.lab import runs
from graphvae.lab.batches import Batch, Batches, supervision_rate
from graphvae.lab.data import Dataset, load_data, source_path
from graphvae.lab.floors import at_the_floor
from graphvae.lab.models import model_class, new_model
from graphvae.lab.pretrained import Pretrained, load_pretrained, read_pretrained
from graphvae.lab.runs import Checkpoint, Run
from graphvae.lab.schedules import all_at, at
from graphvae.lab.scores import errors, predict
from graphvae.lab.transforms import Coding, switched
from graphvae.runtime import Block, Evidence, Knobs, Model

NOISE, DROPOUT, VALIDATION, BINARISE = 0, 1, 2, 3  # the random streams of a step, and of an epoch


def train(
    spec: str | Path,
    settings: Sequence[str] = (),
    data: str | Path | None = None,
    run: str | Path | None = None,
    console: Console | None = None,
    plugin: str | Path | None = None,
) -> Run:
    """Train a spec's model on a spec's data, in a new run folder.

    Args:
        spec: The spec's file.
        settings: `KEY=VALUE` settings laid over it.
        data: The data's file or the folder of its files, in place of what the spec says.
        run: The run folder; None for the next number under `runs/MODEL`.
        console: Where progress is shown; None for nowhere.
        plugin: A Python file whose classes the spec names as kinds of networks, and whose functions its expressions call. It
            is executed.

    Raises:
        SpecError: For every mistake in the spec.
        DataError: For data that is not what the spec says.
        FlagError: If the run folder exists, or the plugin fails.
        RunError: If the run that a sub-model has its weights from cannot be used, or the objective leaves the real numbers.

    >>> run = train("specs/digits.yaml", ["training.epochs=2"])
    >>> run.folder.as_posix(), run.manifest["labels"]["revealed"], len(run.metrics())
    ('runs/digits/1', {'digit': 50}, 2)
    """
    compilation = compile_file(spec, settings, plugin)
    variables = model_class(compilation).variables
    folder = source_path(compilation.graph.spec, data)
    dataset = load_data(compilation.graph, variables, folder)
    pretrained = read_pretrained(compilation)
    chosen = Path(run) if run else runs.free_name(Path("runs") / compilation.spec.model)
    made = runs.create(chosen, compilation, _manifest(compilation, dataset, folder, pretrained))
    return _fit(made, compilation, dataset, console or Console(quiet=True), pretrained)


def resume(
    run: str | Path,
    data: str | Path | None = None,
    console: Console | None = None,
    plugin: str | Path | None = None,
) -> Run:
    """Go on with a run from its last checkpoint, to the same numbers as if it had never stopped.

    Args:
        run: The run folder.
        data: Where the data's files are now; None for where they were.
        console: Where progress is shown; None for nowhere.
        plugin: The plugin that it was trained with, if any.

    Raises:
        RunError: If there is no such run, or its data or its plugin has changed.
    """
    opened = runs.open_run(run, plugin)
    compilation, manifest = opened.compile(), opened.manifest
    folder = data or manifest["data"]["folder"]
    coding = Coding.of(manifest["data"]["coding"])
    dataset = load_data(compilation.graph, model_class(compilation).variables, Path(folder) if folder else None, coding)
    if dataset.fingerprint != manifest["data"]["sha256"]:
        raise RunError.of("GV401", f"the data is not what {opened.folder} was trained on: its checksum differs")
    pretrained = {} if opened.checkpoint() else read_pretrained(compilation)
    for name, weights in pretrained.items():
        if weights.record["sha256"] != manifest["pretrained"][name]["sha256"]:
            raise RunError.of(
                "GV401", f"{weights.record['run']} is not what '{name}' had its weights from: its checksum differs"
            )
    with _threads(manifest["threads"]):
        return _fit(opened, compilation, dataset, console or Console(quiet=True), pretrained)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Sums are split by threads, so their number is part of a run's numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Weights:
    """The numbers that a step of the training is weighed by, each of which may be a schedule."""

    alpha: float | Schedule | Mapping[str, float | Schedule]
    beta: float | Schedule | Mapping[str, float | Schedule]
    temperature: Mapping[str, float | Schedule]
    supervision_rate: float | Schedule

    def knobs(self, model: Model, step: int) -> Knobs:
        """What the objective reads of them at a step."""
        temperature = {name: at(value, step) for name, value in self.temperature.items()}
        return model.knobs(all_at(self.alpha, step), all_at(self.beta, step), temperature)

    def scheduled(self, step: int) -> dict[str, float]:
        """Those that change, at a step, by name."""
        numbers: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            named = {f"{field.name}.{name}": each for name, each in value.items()} if isinstance(value, Mapping) else None
            numbers |= named if named is not None else {field.name: value}
        return {f"schedule.{name}": at(value, step) for name, value in numbers.items() if isinstance(value, Schedule)}


@dataclass(frozen=True)
class _Fit:
    """What stays the same throughout a training."""

    compilation: Compilation
    dataset: Dataset
    batches: Batches
    weights: Weights
    evidence: Mapping[str, Evidence]
    always: frozenset[str]

    @property
    def samples(self) -> int:
        samples = self.compilation.graph.spec.objective.samples
        assert samples is not None
        return samples


def _fit(run: Run, compilation: Compilation, dataset: Dataset, console: Console, pretrained: Mapping[str, Pretrained]) -> Run:
    spec, manifest = compilation.graph.spec, run.manifest
    fabric = Fabric(accelerator="auto", devices=1)
    torch.manual_seed(spec.training.seeds.init)
    bare = new_model(compilation)
    load_pretrained(bare, compilation, pretrained)
    model, optimiser = fabric.setup(bare, torch.optim.Adam(bare.parameters(), lr=spec.training.learning_rate, fused=True))
    checkpoint = run.checkpoint()
    if checkpoint:
        bare.load_state_dict({name: value.to(fabric.device) for name, value in checkpoint.model.items()})
        runs.restore_optimiser(optimiser.optimizer, checkpoint.optimiser)
    first = checkpoint.epoch if checkpoint else 0
    run.cut_metrics(first)
    fit = _prepare(compilation, dataset, bare)
    _announce(console, run, dataset, manifest, first)
    with _events(run, first) as events, _progress(console, spec.training.epochs, first) as advance:
        for epoch in range(first, spec.training.epochs):
            started = time.perf_counter()
            values = _epoch(fit, fabric, model, optimiser, epoch) | _validate(fit, bare, epoch)
            run.append_metrics({"epoch": epoch + 1, **values, "seconds": round(time.perf_counter() - started, 3)})
            state = runs.optimiser_tensors(optimiser.optimizer)
            run.save(Checkpoint(epoch + 1, fit.batches.place(epoch + 1).start, bare.state_dict(), state))
            for name, value in values.items():
                events.add_scalar(name, value, epoch + 1)
            advance(values)
    for finding in at_the_floor(compilation.plan, bare, dataset):
        console.print(finding, style="yellow", highlight=False)
    return run


def _epoch(fit: _Fit, fabric: Fabric, model: Any, optimiser: Any, epoch: int) -> dict[str, float]:
    """One pass. Returns the mean of every term over the rows that have it, and every scheduled number at the last step."""
    model.train()
    means, numbers = _Means(), dict[str, float]()
    for batch in fit.batches.epoch(epoch):
        blocks = _blocks(fit, batch, model.module, fabric.device)
        _seed_dropout(fabric.device, _seed(fit, DROPOUT, batch.step))
        bound, parts = model(blocks, fit.weights.knobs(model.module, batch.step))
        loss = -bound.mean()
        if not loss.isfinite():
            raise _not_finite(batch, bound, parts)
        optimiser.zero_grad(set_to_none=True)
        fabric.backward(loss)
        optimiser.step()
        means.add({"bound": bound.detach(), **parts})
        numbers = fit.weights.scheduled(batch.step)
    return means.values() | numbers


def _blocks(fit: _Fit, batch: Batch, model: Model, device: torch.device) -> list[Block]:
    """The labelled rows with their labels, then the others without; each with its rows of the batch's noise."""
    generator = torch.Generator(device).manual_seed(_seed(fit, NOISE, batch.step))
    split = len(batch.labelled)
    noise = model.noise(fit.samples, split + len(batch.unlabelled), generator)
    parts = ((batch.labelled, slice(None, split), fit.evidence), (batch.unlabelled, slice(split, None), _unlabelled(fit)))
    blocks = [
        Block(_rows(evidence, torch.from_numpy(rows).to(device)), {name: value[:, own] for name, value in noise.items()})
        for rows, own, evidence in parts
        if len(rows)
    ]
    each_time = torch.Generator(device).manual_seed(_seed(fit, BINARISE, batch.step))
    return switched(blocks, fit.dataset.each_time, each_time)


def _unlabelled(fit: _Fit) -> dict[str, Evidence]:
    return {name: evidence for name, evidence in fit.evidence.items() if name in fit.always}


def _rows(evidence: Mapping[str, Evidence], rows: Tensor) -> dict[str, Evidence]:
    def own(part: Tensor | None) -> Tensor | None:
        return part[rows] if part is not None else None

    return {name: Evidence(value[rows], own(known), own(cells)) for name, (value, known, cells) in evidence.items()}


def _prepare(compilation: Compilation, dataset: Dataset, model: Model) -> _Fit:
    spec, weights = compilation.graph.spec, _weights(compilation, dataset)
    labelled = set(dataset.labelled)
    unlabelled = tuple(row for row in range(dataset.rows) if row not in labelled)
    return _Fit(
        compilation=compilation,
        dataset=dataset,
        batches=Batches(
            dataset.labelled,
            unlabelled,
            spec.training.batch_size,
            lambda step: at(weights.supervision_rate, step),
            spec.training.seeds.order,
        ),
        weights=weights,
        evidence=_labelled_evidence(dataset, model),
        always=frozenset(name for name, variable in model.variables.items() if not variable.inferred),
    )


def _labelled_evidence(dataset: Dataset, model: Model) -> dict[str, Evidence]:
    """The whole table in the model's form; a label that every labelled row has in all slots needs no mask in their block."""
    device = next(model.parameters()).device
    evidence = model.evidence({name: value.to(device) for name, value in dataset.train.items()})
    rows = list(dataset.labelled)
    complete = {name for name, found in evidence.items() if found.known is not None and found.known[rows].all()}
    return {name: Evidence(found.value) if name in complete else found for name, found in evidence.items()}


def _validate(fit: _Fit, model: Model, epoch: int) -> dict[str, float]:
    """The scores on the validation rows, if the spec sets some aside."""
    if not fit.dataset.validation:
        return {}
    generator = torch.Generator(next(model.parameters()).device).manual_seed(_seed(fit, VALIDATION, epoch))
    predicted = predict(model, fit.dataset.validation, "q", fit.samples, generator)
    scores = errors(model, fit.dataset.in_units(predicted.means), fit.dataset.in_units(fit.dataset.validation))
    return {f"validation.{score.kind}.{name}": score.value for name, score in scores.items()}


def _manifest(
    compilation: Compilation, dataset: Dataset, folder: Path | None, pretrained: Mapping[str, Pretrained]
) -> dict[str, Any]:
    spec, weights = compilation.graph.spec, _weights(compilation, dataset)
    seeds = spec.training.seeds
    return {
        "model": spec.model,
        "versions": {name: version(name) for name in ("graphvae", "torch", "lightning-fabric", "numpy", "safetensors")}
        | {"python": platform.python_version()},
        "machine": {"platform": platform.platform(), "device": "cuda" if torch.cuda.is_available() else "cpu"},
        "threads": torch.get_num_threads(),
        "seeds": {"init": seeds.init, "order": seeds.order, "noise": seeds.noise}
        | {"labels": [draw.seed for draw in spec.data.labels] if spec.data else []},
        "objective": {field.name: to_jsonable_python(getattr(weights, field.name), by_alias=True) for field in fields(weights)}
        | {"samples": spec.objective.samples},
        "data": {"sha256": dataset.fingerprint, "folder": str(folder.resolve()) if folder else None, "rows": dataset.rows}
        | {"coding": dataset.coding.as_json()},
        "labels": {"revealed": dict(dataset.revealed), "rows": list(dataset.labelled)},
        "pretrained": {name: weights.record for name, weights in pretrained.items()},
        "command": sys.argv,
    }


def _weights(compilation: Compilation, dataset: Dataset) -> Weights:
    """The numbers of a spec for so many labelled rows; `auto` is a tenth of the rows per labelled row (Kingma et al. 2014)."""
    objective, labelled = compilation.graph.spec.objective, len(dataset.labelled)
    automatic = 0.1 * dataset.rows / labelled if labelled else 0.0
    conditionals = {name: node.conditional for name, node in compilation.graph.q.conditionals.items()}
    return Weights(
        alpha=automatic if objective.alpha == "auto" else objective.alpha,
        beta=objective.beta,
        temperature={name: row.temperature for name, row in conditionals.items() if row.temperature is not None},
        supervision_rate=supervision_rate(objective, labelled, dataset.rows - labelled),
    )


def _seed(fit: _Fit, stream: int, step: int) -> int:
    noise = fit.compilation.graph.spec.training.seeds.noise
    return int(np.random.SeedSequence([noise, stream, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _seed_dropout(device: torch.device, seed: int) -> None:
    """Seed the generator that dropout draws from; `torch.manual_seed` would seed every device, and keep a stack each time."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _not_finite(batch: Batch, bound: Tensor, parts: Mapping[str, Tensor]) -> RunError:
    """Which term of which variable left the real numbers, and in which rows."""
    rows = np.concatenate([batch.labelled, batch.unlabelled])
    bad = ~bound.isfinite().cpu()
    found = [name for name, value in parts.items() if _left(name, value.cpu()[bad])]
    named = ", ".join(found) or "its gradient"
    message = f"the objective left the real numbers at step {batch.step}: {named}, in rows {rows[bad.numpy()][:5].tolist()}"
    hint = "the last checkpoint is kept; a smaller training.learning_rate, or normalisation in the network, may help"
    return RunError.of("GV402", message, hint=hint)


def _left(name: str, part: Tensor) -> bool:
    """Whether a term is not finite in some row. The term of a label is NaN by design in rows that do not have it."""
    outside = part.isinf() if name.startswith("label.") else ~part.isfinite()
    return bool(outside.any())


class _Means:
    """Running means of the terms over rows; a row without a term (NaN) does not count for it."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, parts: Mapping[str, Tensor]) -> None:
        for name, value in parts.items():
            present = ~value.isnan()
            self.sums[name] = self.sums.get(name, 0.0) + float(value[present].double().sum())
            self.counts[name] = self.counts.get(name, 0) + int(present.sum())

    def values(self) -> dict[str, float]:
        return {name: total / self.counts[name] for name, total in self.sums.items() if self.counts[name]}


def _announce(console: Console, run: Run, dataset: Dataset, manifest: Mapping[str, Any], first: int) -> None:
    objective = manifest["objective"]
    console.print(f"run {run.folder}" + (f", resumed after epoch {first}" if first else ""), highlight=False)
    for line in dataset.budget():
        console.print(f"  {line}", highlight=False)
    alpha, rate = (_shown(objective[name]) for name in ("alpha", "supervision_rate"))
    console.print(f"  alpha {alpha}, supervision rate {rate}, {objective['samples']} sample(s) a row", highlight=False)


def _shown(weight: Any) -> str:
    """A weight as the first lines of a run show it."""
    if not isinstance(weight, dict):
        return f"{weight:.3g}"
    if "schedule" in weight:
        return f"{weight['schedule']} from {weight['from']:g}" + (f" to {weight['to']:g}" if weight["to"] is not None else "")
    return ", ".join(f"{_shown(each)} ({name})" for name, each in weight.items())


@contextmanager
def _events(run: Run, first: int) -> Iterator[SummaryWriter]:
    writer = SummaryWriter(str(run.folder / "events"), purge_step=first + 1 if first else None)
    try:
        yield writer
    finally:
        writer.close()


@contextmanager
def _progress(console: Console, epochs: int, first: int) -> Iterator[Any]:
    """A bar, and under it the terms of the last epoch by name."""
    bar = Progress(TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    task = bar.add_task("", total=epochs, completed=first)
    with Live(bar, console=console) as live:

        def advance(values: Mapping[str, float]) -> None:
            terms = Table.grid(padding=(0, 2))
            for name, value in values.items():
                terms.add_row(f"  {name}", f"{value:.4g}")
            bar.advance(task)
            live.update(Group(bar, terms))

        yield advance
    if not console.is_terminal:
        console.print()  # where nothing is redrawn, rich leaves the last line open
