"""Sweeps: a spec trained at every point of a grid, over seeds, or wherever a search leads, and the table of what came out.

Each run is an ordinary run folder.

    sweep.json               the definition, and the state of each run: waiting, done, or failed with its message
    SPEC.yaml                the spec as it was when the sweep began
    submodels/NAME.yaml      the same of each sub-model, where SPEC.yaml looks for it
    rows=100,seed=0/         a run folder with evaluation.json, and validation.json if the spec has such rows
    table.csv .md .tex       a row a point: means and 95 % intervals
    plot.pdf .png            the first metric against the first key
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from joblib import cpu_count
from rich.console import Console

from graphvae.compiler.errors import FlagError, RunError
from graphvae.compiler.pipeline import Compilation, compile_source
from graphvae.compiler.plugins import read_plugin
from graphvae.compiler.settings import override
from graphvae.compiler.source import Source, read
from graphvae.lab.data import source_path
from graphvae.lab.folders import clear_drafts, new_folder
from graphvae.lab.grids import Point, is_seed, parse_grid, point_settings, points, run_names, seed_settings
from graphvae.lab.runs import Run, replace_file
from graphvae.lab.search import extremes, parse_search, suggest
from graphvae.lab.sweep_plot import plot
from graphvae.lab.sweep_processes import Failure, outcomes
from graphvae.lab.sweep_record import FILE, Entry, Record
from graphvae.lab.sweep_results import CHOICE, choice, measured, tabulate
from graphvae.lab.sweep_specs import kept_texts
from graphvae.lab.sweep_tables import SweepTable


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder."""

    folder: Path

    @property
    def record(self) -> Record:
        """Its definition, and the state of its runs."""
        return Record.read(self.folder)

    @property
    def runs(self) -> dict[str, Run]:
        """The runs that are done, by name."""
        return {name: Run(self.folder / name) for name, entry in self.record.runs.items() if entry.state == "done"}

    @property
    def failed(self) -> dict[str, list[str]]:
        """The runs that failed, by why they did."""
        found: dict[str, list[str]] = {}
        for name, entry in self.record.runs.items():
            if entry.state == "failed":
                found.setdefault(entry.message, []).append(name)
        return found

    @property
    def exit_code(self) -> int:
        """2 if a run failed by a person's mistake, 1 if one failed otherwise."""
        failed = [entry for entry in self.record.runs.values() if entry.state == "failed"]
        return max((2 if entry.mistake else 1 for entry in failed), default=0)

    @property
    def best(self) -> str | None:
        """The name of the run that does best on validation rows; None without a search, or if no run is done."""
        return min(self.runs, key=lambda name: choice(self.folder / name), default=None) if self.record.search else None

    def table(self) -> SweepTable:
        """A row a point: means and 95 % intervals over the runs that are done."""
        return tabulate(self.folder, self.record)


def sweep(
    spec: str | Path,
    grid: Sequence[str] = (),
    seeds: int | None = None,
    *,
    search: Sequence[str] = (),
    trials: int = 20,
    jobs: int = 1,
    settings: Sequence[str] = (),
    data: str | Path | None = None,
    run: str | Path | None = None,
    samples: int = 50,
    console: Console | None = None,
    plugin: str | Path | None = None,
) -> Sweep:
    """Train a spec at every point of a grid, or go on with a sweep that was begun so. A run that fails loses nothing else.

    Args:
        spec: The spec's file.
        grid: `KEY=V1,V2,...` for each key that varies; every combination is a point.
        seeds: Repeat every point with the seeds 0 to seeds - 1, each of which seeds the draws of labels, the initial weights,
            the order of rows and the noise; None for one run with the seeds of the spec.
        search: Instead, `KEY=LOW..HIGH`, `KEY=LOW..HIGH:log` or `KEY=V1,V2,...` for each key that Optuna chooses, by the error
            on validation rows of the first supervised variable, or if there is none by the evidence. Between whole numbers it
            chooses whole numbers; write 0.0..1 for any number.
        trials: How many runs a search has.
        jobs: How many runs are trained at a time, each with its share of the cores.
        settings: `KEY=VALUE` settings laid over the spec in every run.
        data: The folder of the data's files, or the file.
        run: The sweep's folder; None for the next `sweep-NUMBER` under `runs/MODEL`.
        samples: Samples a row, when runs are evaluated.
        console: Where progress is shown; None for nowhere.
        plugin: A Python file whose classes the spec names as kinds of networks, and whose functions its expressions call. It
            is executed.

    Raises:
        SpecError: For every mistake in the spec at a point.
        FlagError: For flags that cannot be followed, and a folder that holds another sweep.

    >>> made = sweep("specs/digits.yaml", ["data.labels.digit.rows=20,50"], settings=["training.epochs=1"], jobs=2)
    >>> made.folder.as_posix(), list(made.runs)
    ('runs/digits/sweep-1', ['rows=20', 'rows=50'])
    >>> [str(metric) for metric in made.table().metrics][:2]
    ['error of digit by q (%)', 'error of digit by p and q (%)']
    """
    _check_flags(grid, seeds, search, settings, {"trials": trials, "jobs": jobs, "samples": samples})
    source = read(spec)
    wanted = extremes(parse_search(search)) if search else points(parse_grid(grid))
    known = read_plugin(plugin) if plugin else None
    compiled = [compile_source(override(source, [*settings, *point_settings(point)]), known) for point in wanted]
    if search:
        _check_validation(compiled[0])
    record = Record(
        model=compiled[0].spec.model,
        spec=Path(spec).name,
        settings=list(settings),
        grid={key: list(values) for key, values in parse_grid(grid).items()},
        seeds=seeds,
        search=list(search),
        trials=trials,
        samples=samples,
        data=_where([source_path(each.spec, data) for each in compiled]),
        plugin=known.sha256 if known else None,
        threads=max(1, cpu_count() // jobs),
        command=sys.argv,
        runs={} if search else _entries(source, settings, wanted, seeds),
    )
    folder = Path(run) if run else _free_name(Path("runs") / record.model)
    made, texts = Sweep(folder), kept_texts(compiled[0])
    record = _begun_before(made, record, texts) if (folder / FILE).exists() else _create(folder, record, texts)
    return _go_on(made, record, jobs, console or Console(quiet=True), plugin)


def resume(
    folder: str | Path,
    jobs: int = 1,
    data: str | Path | None = None,
    console: Console | None = None,
    plugin: str | Path | None = None,
) -> Sweep:
    """Go on with a sweep: what is done is kept, what was begun goes on from its checkpoint, and what failed is tried again.

    Args:
        folder: The sweep's folder.
        jobs: How many runs are trained at a time.
        data: Where the data's files are now; None for where they were.
        console: Where progress is shown; None for nowhere.
        plugin: The plugin that it was begun with, if any.

    Raises:
        RunError: If there is no such sweep, or it was begun with another plugin.
        FlagError: If another process is at work on it.
    """
    _check_positive({"jobs": jobs})
    record = Record.read(Path(folder))
    if (read_plugin(plugin).sha256 if plugin else None) != record.plugin:
        hint = "pass the file as it was then, if you trust it: --plugin FILE"
        raise RunError.of("GV401", f"{folder} was begun with another plugin, or without one", hint=hint)
    moved = replace(record, data=_where([Path(data)])) if data else record
    return _go_on(Sweep(Path(folder)), moved, jobs, console or Console(quiet=True), plugin)


def _check_flags(
    grid: Sequence[str], seeds: int | None, search: Sequence[str], settings: Sequence[str], numbers: Mapping[str, int]
) -> None:
    _check_positive(numbers if seeds is None else {"seeds": seeds, **numbers})
    if search and (grid or seeds is not None):
        hint = "search first, and then repeat what is best: --set KEY=VALUE --seeds N"
        raise FlagError.of("GV501", "a search goes without a grid and without seeds", hint=hint)
    if not (grid or search) and seeds is None:
        hint = "--grid KEY=V1,V2,..., --seeds N, or --search KEY=LOW..HIGH"
        raise FlagError.of("GV501", "a sweep needs something that varies", hint=hint)
    keys = [text.partition("=")[0] for text in (*grid, *settings)]
    for key in filter(is_seed, keys if seeds is not None else ()):
        raise FlagError.of("GV501", f"'{key}' is set by --seeds", hint="leave out the one or the other")


def _check_positive(numbers: Mapping[str, int]) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise FlagError.of("GV501", f"--{name} is {number}, and should be at least 1")


def _check_validation(compilation: Compilation) -> None:
    data = compilation.spec.data
    if data is None or data.validation is None:
        hint = "set some aside: --set 'data.validation={rows: 200, labels: true}'"
        raise FlagError.of("GV501", "a search chooses by validation rows, never by test rows, and the spec has none", hint=hint)


def _entries(source: Source, settings: Sequence[str], wanted: Sequence[Point], seeds: int | None) -> dict[str, Entry]:
    """The runs of a grid, by name."""
    runs = [(point, seed) for point in wanted for seed in (range(seeds) if seeds is not None else [None])]
    entries = {}
    for name, (point, seed) in zip(run_names(runs), runs, strict=True):
        own = [*settings, *point_settings(point)]
        entries[name] = Entry(point, seed, own if seed is None else [*own, *seed_settings(source, own, seed)])
    return entries


def _where(paths: Sequence[Path | None]) -> str | None:
    """Where the data of all points are, from anywhere; None for a source's default, or where the points have their own."""
    return str(paths[0].resolve()) if paths[0] and len(set(paths)) == 1 else None


def _free_name(folder: Path) -> Path:
    return next(path for number in count(1) if not (path := folder / f"sweep-{number}").exists())


def _create(folder: Path, record: Record, texts: Mapping[str, str]) -> Record:
    """A new folder with the specs as they are now, which is there whole or not at all.

    Raises:
        FlagError: If the folder exists, or cannot be made.
    """
    if folder.exists():
        raise FlagError.of("GV501", f"{folder} exists, and is not a sweep", hint="choose another name")
    try:
        with new_folder(folder) as draft:
            for file, text in texts.items():
                (draft / file).parent.mkdir(exist_ok=True)
                replace_file(draft / file, text.encode())
            record.write(draft)
    except OSError as error:
        raise FlagError.of("GV501", f"cannot make the folder {folder}: {error.strerror}") from None
    return record


def _begun_before(made: Sweep, record: Record, texts: Mapping[str, str]) -> Record:
    """The record of a sweep that was begun by the same command; it may have been given more trials.

    Raises:
        FlagError: If it was another command.
    """
    old, hint = made.record, f"choose another folder, or go on with it as it was begun: graphvae sweep --resume {made.folder}"
    for part in ("settings", "grid", "seeds", "search", "samples", "data", "plugin"):
        if getattr(old, part) != getattr(record, part):
            message = f"the sweep {made.folder} was begun with another '{part}': {json.dumps(getattr(old, part))}"
            raise FlagError.of("GV501", message, hint=hint)
    kept = {file: made.folder / file for file in texts}
    if any(not kept[file].exists() or kept[file].read_text("utf-8") != text for file, text in texts.items()):
        message = f"the sweep {made.folder} was begun with another spec than {record.spec} is now"
        raise FlagError.of("GV501", message, hint=hint)
    return replace(old, trials=max(old.trials, record.trials))


def _go_on(made: Sweep, record: Record, jobs: int, console: Console, plugin: str | Path | None) -> Sweep:
    record = replace(record, runs={name: _again(made.folder / name, entry) for name, entry in record.runs.items()})
    with _locked(made.folder):
        for name in record.runs:
            clear_drafts(made.folder / name)  # their processes ended with the one that held the lock
        record.write(made.folder)
        _announce(console, made, record, jobs)
        try:
            _work(made.folder, record, jobs, console, str(plugin) if plugin else None)
        except KeyboardInterrupt:
            _say(console, f"stopped; graphvae sweep --resume {made.folder} goes on")
            raise
        _write_reports(made)
    return made


def _again(run: Path, entry: Entry) -> Entry:
    """What is done stays so while its folder is there; anything else waits."""
    done = entry.state == "done" and (run / "checkpoint.safetensors").exists()
    return entry if done else replace(entry, state="waiting", message="", mistake=False)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The system opens the lock when the process that holds it ends, however it ends."""
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise FlagError.of("GV501", f"another process is at work on {folder}", hint="wait until it ends, or end it") from None


def _work(folder: Path, record: Record, jobs: int, console: Console, plugin: str | None) -> None:
    """Do every run that waits, and write down how each fared as soon as it ends."""
    done = sum(entry.state == "done" for entry in record.runs.values())
    total = record.trials if record.search else len(record.runs)
    with closing(outcomes(folder, _names(folder, record), jobs, record.threads, plugin)) as ended:
        for number, (name, failure) in enumerate(ended, done + 1):
            fared = failure or Failure("", False)
            state: Literal["failed", "done"] = "failed" if failure else "done"
            record.runs[name] = replace(record.runs[name], state=state, message=fared.message, mistake=fared.mistake)
            record.write(folder)
            _say(console, f"[{number}/{total}] {name}: {_headline(folder / name, failure)}")


def _names(folder: Path, record: Record) -> Iterator[str]:
    """The runs that wait; then those that a search proposes, each in the light of what has ended by then."""
    yield from [name for name, entry in record.runs.items() if entry.state == "waiting"]
    while record.search and (number := len(record.runs)) < record.trials:
        done = [(entry.point, choice(folder / name)) for name, entry in record.runs.items() if entry.state == "done"]
        point = suggest(parse_search(record.search), done, number)
        name = f"trial={number}"
        record.runs[name] = Entry(point, None, [*record.settings, *point_settings(point)])
        record.write(folder)
        yield name


def _write_reports(made: Sweep) -> None:
    """The table in its formats, and the figure if there is anything to draw."""
    table, record = made.table(), made.record
    for name, text in (("table.csv", table.csv()), ("table.md", table.markdown()), ("table.tex", table.latex())):
        replace_file(made.folder / name, text.encode())
    metrics = [metric for metric in table.metrics if not record.search or metric.name.startswith(CHOICE)]
    if metrics:
        plot(table, metrics[0], not record.search, [made.folder / f"plot{end}" for end in (".pdf", ".png")])


def _announce(console: Console, made: Sweep, record: Record, jobs: int) -> None:
    waiting = sum(entry.state == "waiting" for entry in record.runs.values())
    runs = f"{record.trials} trials" if record.search else f"{waiting} of {len(record.runs)} runs to do"
    _say(console, f"sweep {made.folder}: {runs}, {jobs} at a time, {record.threads} thread(s) each")


def _headline(run: Path, failure: Failure | None) -> str:
    """The first figure of a run and its seconds; or why it failed, of a traceback the last line."""
    if failure:
        return f"failed: {failure.message.splitlines()[0 if failure.mistake else -1]}"
    figures = measured(run)
    names = dict.fromkeys((next(iter(figures)), list(figures)[-1]))
    return ", ".join(f"{metric.name} {metric.scale * figures[metric]:.4g} {metric.unit}".rstrip() for metric in names)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
