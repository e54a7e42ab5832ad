"""Sweeps: every point and seed is a run, nothing is lost to a failure or a kill, and the table says what the runs came to."""

from __future__ import annotations

import _thread
import csv
import io
import json
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from matplotlib.figure import Figure
from rich.console import Console
from scipy import stats
from typer.testing import CliRunner

from graphvae.cli import app
from graphvae.compiler.errors import FlagError, RunError, UserError
from graphvae.compiler.pipeline import compile_source
from graphvae.compiler.settings import override
from graphvae.compiler.source import read
from graphvae.lab import runs, sweep_processes, sweep_run
from graphvae.lab.grids import run_names, seed_settings
from graphvae.lab.runs import Run
from graphvae.lab.search import parse_search, suggest
from graphvae.lab.sweep_plot import plot
from graphvae.lab.sweep_processes import Failure, outcomes
from graphvae.lab.sweep_record import Record
from graphvae.lab.sweep_tables import Estimate, Metric, Row, SweepTable
from graphvae.lab.sweeps import Sweep, resume, sweep
from graphvae.lab.training import train

DIGITS = "specs/digits.yaml"
GRID = ["data.labels.digit.rows=20,60"]
SETTINGS = ["training.epochs=3", "q.digit.network.hidden=[32]"]


def figures(table: SweepTable) -> list[tuple[dict[str, str], int, dict[str, Estimate]]]:
    """A table without the seconds that its runs took."""
    return [
        (dict(row.point), row.done, {str(metric): found for metric, found in row.estimates.items() if metric.unit != "s"})
        for row in table.rows
    ]


@contextmanager
def in_this_process() -> Iterator[None]:
    """Do the runs of a sweep one after the other without processes, which take seconds to start, on one core."""

    def in_turn(
        folder: Path, names: Iterator[str], jobs: int, threads: int, plugin: str | None
    ) -> Iterator[tuple[str, Failure | None]]:
        for name in names:
            patch.setattr(sys, "argv", ["sweep_run", str(folder), name])
            yield name, _ended(sweep_run.main)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphvae.lab.sweeps.outcomes", in_turn)
        patch.setattr("graphvae.lab.sweeps.cpu_count", lambda: 1)
        patch.setattr(sweep_run, "_stop_with_the_sweep", lambda: None)
        yield


def _ended(main: Callable[[], None]) -> Failure | None:
    """How a main function ends: well, or with a person's mistake, which it prints."""
    with redirect_stdout(io.StringIO()) as printed:
        try:
            main()
        except SystemExit as ended:
            return Failure(printed.getvalue().strip(), mistake=ended.code == 2)
    return None


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep of two points and two seeds."""
    folder = tmp_path_factory.mktemp("sweeps") / "whole"
    with in_this_process():
        return sweep(DIGITS, GRID, 2, jobs=2, settings=SETTINGS, run=folder, samples=2)


def test_every_point_and_seed_is_an_ordinary_run(whole: Sweep) -> None:
    names = [f"rows={rows},seed={seed}" for rows in (20, 60) for seed in (0, 1)]
    assert list(whole.runs) == names
    assert not whole.failed
    assert whole.exit_code == 0
    manifest = whole.runs["rows=60,seed=1"].manifest
    assert manifest["seeds"] == {"init": 1, "order": 1, "noise": 1, "labels": [1]}
    assert manifest["labels"]["revealed"] == {"digit": 60}
    assert manifest["threads"] == whole.record.threads
    assert len(whole.runs["rows=60,seed=1"].metrics()) == 3


def test_a_run_of_a_sweep_is_that_of_a_training_with_its_settings(whole: Sweep, tmp_path: Path) -> None:
    seeds = [f"training.seeds.{role}=1" for role in ("init", "order", "noise")]
    settings = [*SETTINGS, "data.labels.digit={rows: 20, balanced: true, seed: 1}", *seeds]
    alone = train(DIGITS, settings, run=tmp_path / "run")
    swept = whole.runs["rows=20,seed=1"]
    for kept in ("spec.yaml", "model.py"):
        assert (swept.folder / kept).read_text() == (alone.folder / kept).read_text()
    assert [line["bound"] for line in swept.metrics()] == [line["bound"] for line in alone.metrics()]


def test_the_table_says_what_the_runs_came_to(whole: Sweep) -> None:
    first, second = whole.table().rows
    assert (first.point, second.point) == ({"data.labels.digit.rows": "20"}, {"data.labels.digit.rows": "60"})
    errors = []
    for seed in (0, 1):
        evaluation = json.loads((whole.folder / f"rows=20,seed={seed}" / "evaluation.json").read_text())
        assert evaluation["samples"] == 2
        errors.append(evaluation["predictions"]["digit"]["importance"]["value"])
    found = first.estimates[Metric("error of digit by p and q", "%")]
    low, high = stats.ttest_1samp(errors, 0).confidence_interval(0.95)
    assert found.mean - found.half_width == pytest.approx(low, rel=1e-12)
    assert found.mean + found.half_width == pytest.approx(high, rel=1e-12)
    assert [metric.name for metric in first.estimates] == [
        "error of digit by q",
        "error of digit by p and q",
        "log score",
        "effective samples",
        "training",
    ]
    for name in ("table.csv", "table.md", "table.tex"):
        assert (whole.folder / name).stat().st_size > 100
    assert png_size((whole.folder / "plot.png").read_bytes()) == (975, 731)


def png_size(content: bytes) -> tuple[int, int]:
    """Width and height from the header of a PNG."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_a_killed_sweep_goes_on_to_the_same_table(whole: Sweep, tmp_path: Path) -> None:
    """Half done, it is killed while a run is at work: its process stops with it, and what is left goes on where it was.

    The figures are those of runs that were never stopped and had no process of their own.
    """
    folder = tmp_path / "killed"
    shutil.copytree(whole.folder, folder)
    for seed in (0, 1):
        shutil.rmtree(folder / f"rows=60,seed={seed}")
    command = [sys.executable, "-m", "graphvae", "sweep", "--resume", folder]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None and not _under_way(folder):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the sweep ended before it could be killed"
    time.sleep(0.5)
    before = _epochs(folder)
    assert 0 < sum(before.values()) < 12
    time.sleep(1)
    assert _epochs(folder) == before, "a run went on without its sweep"
    with in_this_process():
        resumed = sweep(DIGITS, GRID, 2, jobs=2, settings=SETTINGS, run=folder, samples=2)
    assert figures(resumed.table()) == figures(whole.table())
    assert {entry.state for entry in resumed.record.runs.values()} == {"done"}


def _under_way(folder: Path) -> bool:
    return any(0 < epochs < 3 for epochs in _epochs(folder).values())


def _epochs(folder: Path) -> dict[str, int]:
    return {path.name: len(Run(path).metrics()) for path in folder.glob("rows=*")}


def test_what_is_done_is_kept(whole: Sweep) -> None:
    before = {name: (run.folder / "checkpoint.safetensors").stat().st_mtime_ns for name, run in whole.runs.items()}
    (whole.folder / ".rows=20,seed=0-abcdefgh.draft").mkdir()
    assert figures(resume(whole.folder).table()) == figures(whole.table())
    assert not list(whole.folder.glob(".*.draft")), "what a killed run left of a folder of its own"
    assert {name: (run.folder / "checkpoint.safetensors").stat().st_mtime_ns for name, run in whole.runs.items()} == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"grid": ["data.labels.digit.rows=20,70"]}, 'with another \'grid\': {"data.labels.digit.rows": ["20", "60"]}'),
        ({"seeds": 3}, "with another 'seeds': 2"),
        ({"settings": SETTINGS[:1]}, "with another 'settings'"),
        ({"samples": 3}, "with another 'samples': 2"),
        ({"spec": "specs/changed/digits.yaml"}, "with another spec"),
    ],
)
def test_another_sweep_in_its_folder_is_refused(whole: Sweep, tmp_path: Path, changed: dict[str, object], message: str) -> None:
    (tmp_path / "digits.yaml").write_text(Path(DIGITS).read_text().replace("size: 8", "size: 9"))
    if "spec" in changed:
        changed = {"spec": tmp_path / "digits.yaml"}
    same = {"spec": DIGITS, "grid": GRID, "seeds": 2, "settings": SETTINGS, "samples": 2}
    with pytest.raises(FlagError) as caught:
        sweep(**same | changed, run=whole.folder)
    assert message in str(caught.value)
    assert f"graphvae sweep --resume {whole.folder}" in str(caught.value)


def test_a_failure_loses_nothing_else_and_says_why(tmp_path: Path) -> None:
    command = ["sweep", DIGITS, "--grid", "data.labels.digit.rows=9999,20", "--grid", "training.learning_rate=1e-3"]
    command += ["--set", "training.epochs=1", "--jobs", "2", "--samples", "2", "--run", str(tmp_path / "sweep")]
    with in_this_process():
        done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert done.stderr.startswith("failed: rows=9999,learning_rate=1e-3\n  --set:1:24: error[GV305]: 9,999 labelled rows")
    assert "Traceback" not in done.stderr
    lines = [line.split("] ")[1] for line in done.stdout.splitlines() if line.startswith("[")]
    assert any(line.startswith("rows=9999,learning_rate=1e-3: failed: --set:1:24: error[GV305]") for line in lines)
    assert any(line.startswith("rows=20,learning_rate=1e-3: error of digit by q ") for line in lines)
    record = Record.read(tmp_path / "sweep")
    assert {name: entry.state for name, entry in record.runs.items()} == {
        "rows=9999,learning_rate=1e-3": "failed",
        "rows=20,learning_rate=1e-3": "done",
    }
    assert [row.done for row in Sweep(tmp_path / "sweep").table().rows] == [0, 1]


def test_a_run_that_leaves_the_real_numbers_says_so(tmp_path: Path) -> None:
    begun = _begun(tmp_path, ["training.learning_rate=1e30"])
    with pytest.raises(RunError, match="the objective left the real numbers"):
        sweep_run.work(begun.folder, "learning_rate=1e30")


def test_validation_rows_are_measured_as_test_rows_are(tmp_path: Path) -> None:
    begun = _begun(tmp_path, ["training.batch_size=256"], ["data.validation={rows: 100, labels: true}", "training.epochs=1"])
    sweep_run.work(begun.folder, "batch_size=256")
    run = Run(begun.folder / "batch_size=256")
    validation, evaluation = (json.loads((run.folder / f"{name}.json").read_text()) for name in ("validation", "evaluation"))
    assert validation["predictions"]["digit"]["q"]["value"] == run.metrics()[-1]["validation.error.digit"]
    assert (validation["rows"], evaluation["rows"]) == (100, 359)
    assert validation.keys() == evaluation.keys()
    assert {key for key in validation if validation[key] == evaluation[key]} == {"epoch", "samples", "density", "rescaled"}


def test_data_stay_where_the_spec_or_a_setting_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in a spec counts from the folder of the spec, and one in a setting from here."""
    monkeypatch.setattr("graphvae.lab.sweeps.outcomes", _nothing)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "amounts.yaml").write_text(AMOUNTS)
    spec = "specs/amounts.yaml"
    assert sweep(spec, seeds=1).record.data == str(tmp_path / "specs" / "amounts.npz")
    assert sweep(spec, seeds=1, settings=["data.path=a.npz"]).record.data == str(tmp_path / "a.npz")
    assert sweep(spec, seeds=1, data="b.npz").record.data == str(tmp_path / "b.npz")
    assert sweep(spec, ["data.path=a.npz,b.npz"]).record.data is None


AMOUNTS = """
model: amounts
variables:
  amount: {distribution: normal, role: supervised}
  x: {distribution: normal, size: 2, role: observed}
p: {x: [amount]}
q: {amount: [x]}
data:
  source: npz
  path: amounts.npz
  columns: {amount: amount, x: x}
  labels: {amount: {rows: 50}}
  transforms: {amount: standardise, x: standardise}
  validation: {rows: 20, labels: true}
training: {epochs: 1}
"""


def test_standardised_labels_are_measured_in_their_own_units(tmp_path: Path) -> None:
    """On validation rows, too; and a table says in which units its log evidence is."""
    amounts = np.random.default_rng(0).normal(500, 100, 200)
    np.savez(tmp_path / "amounts.npz", amount=amounts, x=np.column_stack([amounts, -amounts]))
    (tmp_path / "amounts.yaml").write_text(AMOUNTS)
    with in_this_process():
        made = sweep(tmp_path / "amounts.yaml", seeds=1, run=tmp_path / "sweep", samples=2)
    validation = json.loads((made.runs["seed=0"].folder / "validation.json").read_text())
    rmse = validation["predictions"]["amount"]["q"]["value"]
    assert rmse == made.runs["seed=0"].metrics()[-1]["validation.rmse.amount"] > 10
    assert made.table().note.endswith("2 samples a row. The log evidence is in the units after the transforms of x.")


def _begun(tmp_path: Path, grid: list[str], settings: list[str] = SETTINGS, plugin: Path | None = None) -> Sweep:
    """A sweep whose runs all wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphvae.lab.sweeps.outcomes", _nothing)
        return sweep(DIGITS, grid, settings=settings, run=tmp_path / "begun", samples=3, plugin=plugin)


def _nothing(*arguments: object) -> Iterator[tuple[str, None]]:
    yield from ()


FAKE = """
import os, pathlib, signal, sys, time
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
(folder / name).mkdir()
if name == "mistake":
    print("error[GV303]: a grey pixel")
    sys.exit(2)
if name == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if name == "fault":
    raise ZeroDivisionError("of ours")
if name == "chatty":
    sys.stderr.write("a warning " * 100_000)
if name.startswith("slow"):
    time.sleep(60)
(folder / name / "threads").write_text(os.environ["OMP_NUM_THREADS"])
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for runs that do nothing but what their names say."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "fake_run.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setattr(sweep_processes, "RUN", "fake_run")
    monkeypatch.setattr(sweep_processes, "POLL", 0.005)
    return tmp_path


def test_every_way_to_fail_is_told_from_the_others(fake: Path) -> None:
    names = ["killed", "mistake", "good", "fault", "chatty"]
    found = dict(outcomes(fake, iter(names), jobs=2, threads=3))
    assert set(found) == set(names)
    assert found["good"] is found["chatty"] is None
    assert (fake / "good" / "threads").read_text() == "3"
    assert found["mistake"] == Failure("error[GV303]: a grey pixel", True)
    assert found["killed"] == Failure("killed by signal 9 (Killed)", False)
    assert found["fault"] is not None
    assert found["fault"].message.splitlines()[-1] == "ZeroDivisionError: of ours"
    assert not found["fault"].mistake


def test_a_name_is_asked_for_when_there_is_room(fake: Path) -> None:
    asked: list[str] = []

    def names() -> Iterator[str]:
        for name in ("slow", "one", "two"):
            asked.append(name)
            yield name

    ended = outcomes(fake, names(), jobs=2, threads=1)
    assert next(ended) == ("one", None)
    assert asked == ["slow", "one"]
    assert next(ended) == ("two", None)
    ended.close()


def test_an_interrupt_stops_every_run_and_is_told_how_to_go_on(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes: list[subprocess.Popen[bytes]] = []
    start = sweep_processes._start

    def started(arguments: list[str], threads: int) -> object:
        child = start([arguments[0], f"slow {arguments[1]}"], threads)
        processes.append(child.process)
        if len(processes) == 2:
            threading.Timer(0.2, _thread.interrupt_main).start()
        return child

    monkeypatch.setattr(sweep_processes, "_start", started)
    console = Console(width=200)
    with console.capture() as capture, pytest.raises(KeyboardInterrupt):
        sweep(DIGITS, GRID, 2, jobs=2, run=fake / "sweep", console=console)
    assert f"stopped; graphvae sweep --resume {fake / 'sweep'} goes on" in capture.get()
    assert [process.returncode for process in processes] == [-signal.SIGKILL, -signal.SIGKILL]
    assert {entry.state for entry in Record.read(fake / "sweep").runs.values()} == {"waiting"}


NETWORK = """
import torch

class Straight(torch.nn.Module):
    def __init__(self, parents, heads):
        super().__init__()
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, image):
        return self.linear(image.flatten(-3))
"""


def test_a_plugin_is_executed_only_where_it_is_passed_and_unchanged(tmp_path: Path) -> None:
    plugin = tmp_path / "my_networks.py"
    plugin.write_text(NETWORK)
    settings = ["q.digit.network={kind: Straight}", "training.epochs=1"]
    begun = _begun(tmp_path, ["training.batch_size=512"], settings, plugin)
    sweep_run.work(begun.folder, "batch_size=512", str(plugin))
    weights = runs.open_run(begun.folder / "batch_size=512").checkpoint()
    assert weights is not None
    assert weights.model["encoder.digit.linear.weight"].shape == (10, 64)
    with pytest.raises(RunError, match="begun with another plugin, or without one"):
        resume(begun.folder)
    plugin.write_text(NETWORK + "# changed")
    with pytest.raises(RunError, match="begun with another plugin, or without one"):
        resume(begun.folder, plugin=plugin)
    with pytest.raises(RunError, match="has changed since"):
        sweep_run.work(begun.folder, "batch_size=512", str(plugin))


def test_a_sweep_that_cannot_be_begun_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(record: Record, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Record, "write", fail)
    with pytest.raises(FlagError, match=r"cannot make the folder .*: No space left on device"):
        sweep(DIGITS, GRID, run=tmp_path / "sweep")
    assert not list(tmp_path.iterdir())


def test_two_processes_never_work_on_one_sweep(tmp_path: Path) -> None:
    begun = _begun(tmp_path, GRID)
    with FileLock(begun.folder / ".lock"), pytest.raises(FlagError, match="another process is at work"):
        resume(begun.folder)


def test_threads_are_shared_among_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphvae.lab.sweeps.outcomes", _nothing)
    monkeypatch.setattr("graphvae.lab.sweeps.cpu_count", lambda: 8)
    for jobs, threads in ((1, 8), (3, 2), (9, 1)):
        assert sweep(DIGITS, GRID, jobs=jobs, run=tmp_path / str(jobs)).record.threads == threads


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "a sweep needs something that varies"),
        ({"grid": ["training.epochs"]}, "'training.epochs' is not KEY=VALUES"),
        ({"grid": ["training.epochs=1,1"]}, "'training.epochs' has the value 1 twice"),
        ({"grid": ["training.epochs=1", "training.epochs=2"]}, "'training.epochs' stands in --grid twice"),
        ({"grid": ["training.epochs=1,0"]}, "--set:1:17: error[GV053]"),
        ({"grid": ["training.epoch=1"]}, "did you mean 'epochs'?"),
        ({"grid": ["training.epochs=[1"]}, "--grid:1:17: error[GV002]"),
        ({"grid": ["training.seeds.init=0,1"], "seeds": 2}, "'training.seeds.init' is set by --seeds"),
        ({"settings": ["data.labels.digit.seed=5"], "seeds": 2}, "'data.labels.digit.seed' is set by --seeds"),
        ({"grid": GRID, "jobs": 0}, "--jobs is 0, and should be at least 1"),
        ({"seeds": 0}, "--seeds is 0, and should be at least 1"),
    ],
)
def test_flags_that_cannot_be_followed_are_refused_before_anything_begins(
    tmp_path: Path, flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        sweep(DIGITS, run=tmp_path / "sweep", **flags)
    assert message in str(caught.value)
    assert not (tmp_path / "sweep").exists()


def test_folders_that_are_no_sweeps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        resume(tmp_path)
    with pytest.raises(FlagError, match="exists, and is not a sweep"):
        sweep(DIGITS, GRID, run=tmp_path)
    (tmp_path / "sweep.json").write_text('{"runs": 3}')
    with pytest.raises(RunError, match="cannot be read"):
        resume(tmp_path)


@pytest.mark.parametrize(
    "labels",
    ["{digit: {rows: 5, seed: 9}}", "[{variables: [digit], rows: 5}, {variables: [digit], rows: 3, seed: 4}]", "{}"],
)
def test_a_seed_reaches_every_draw(labels: str) -> None:
    settings = [f"data.labels={labels}"]
    source = read(DIGITS)
    spec = compile_source(override(source, [*settings, *seed_settings(source, settings, 7)])).spec
    assert spec.data is not None
    assert [draw.seed for draw in spec.data.labels] == [7] * labels.count("rows")
    assert [draw.rows for draw in spec.data.labels] == [5, 3][: labels.count("rows")]
    assert (spec.training.seeds.init, spec.training.seeds.order, spec.training.seeds.noise) == (7, 7, 7)


def test_names_of_runs_are_unique_and_safe() -> None:
    points = [{"a.size": value, "b.size": "é/[..]"} for value in ("x y", "x/y", "X_Y", "-1", "z" * 500)]
    names = run_names([(point, 0) for point in points])
    assert len({name.casefold() for name in names}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._+,=-]{1,140}", name) for name in names)
    assert names[3] == "a.size=-1,b.size=..,seed=0"


def test_intervals_are_those_of_student() -> None:
    """Against scipy's test of one sample, and against the tables of its quantiles."""
    generator = np.random.default_rng(0)
    for runs_ in (2, 3, 10):
        values = generator.normal(3, 2, runs_)
        found = Estimate.over(values.tolist())
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high), rel=1e-12)
    assert Estimate.over([1, 3]).half_width == pytest.approx(12.7062047, rel=1e-8)  # t(0.975; 1) times 1
    assert Estimate.over([0, 3, 6]).half_width == pytest.approx(4.30265273 * 3 / 3**0.5, rel=1e-8)
    assert Estimate.over([5]) == Estimate(5, None)


@pytest.mark.parametrize(
    ("estimate", "shown"),
    [
        (Estimate(-28.7244, 0.05589), "-28.724 ± 0.056"),
        (Estimate(1234.56, 123.4), "1235 ± 123"),
        (Estimate(0.1, 0.0), "0.1 ± 0"),
        (Estimate(float("nan"), float("nan")), "nan ± nan"),
        (Estimate(0.12345678, None), "0.1235"),
        (Estimate(1.0, 9.96), "1.0 ± 10.0"),
    ],
)
def test_an_estimate_is_shown_to_the_second_digit_of_its_interval(estimate: Estimate, shown: str) -> None:
    assert estimate.shown() == shown


ERROR, SCORE = Metric("error of digit by q", "%"), Metric("log score", "nats")
TABLE = SweepTable(
    title="digits_50%, sweep-1",
    note="Mean & interval",
    keys=("q.digit.network.hidden", "training.learning_rate"),
    metrics=(ERROR, SCORE),
    rows=(
        Row({"q.digit.network.hidden": "[8, 8]", "training.learning_rate": "1e-3"}, 2, 3, {ERROR: Estimate(0.25, 0.0312)}),
        Row({"q.digit.network.hidden": "a|b_c", "training.learning_rate": "1e-1"}, 0, 3, {}),
        Row({"q.digit.network.hidden": "[8, 8]", "training.learning_rate": "1e-1"}, 3, 3, {SCORE: Estimate(-1 / 3, None)}),
    ),
)


def test_csv_parses_back_to_every_digit() -> None:
    heading, *rows = csv.reader(TABLE.csv().splitlines())
    metrics = [f"{name}{end}" for name in ("error of digit by q", "log score") for end in ("", ": half-width")]
    assert heading == ["q.digit.network.hidden", "training.learning_rate", "runs", *metrics]
    assert rows[0] == ["[8, 8]", "1e-3", "2", "0.25", "0.0312", "", ""]
    assert rows[1] == ["a|b_c", "1e-1", "0", "", "", "", ""]
    assert float(rows[2][5]) == -1 / 3


def test_markdown_parses_back() -> None:
    lines = [re.split(r"(?<!\\)\|", line) for line in TABLE.markdown().splitlines() if line.startswith("|")]
    cells = [[cell.strip().replace(r"\|", "|") for cell in line[1:-1]] for line in lines]
    assert cells == [
        ["hidden", "learning_rate", "runs", "error of digit by q (%)", "log score (nats)"],
        ["---", "---", "---:", "---:", "---:"],
        ["[8, 8]", "1e-3", "2 of 3", "25.0 ± 3.1", ""],
        ["a|b_c", "1e-1", "0 of 3", "", ""],
        ["[8, 8]", "1e-1", "3", "", "-0.3333"],
    ]
    assert TABLE.markdown().endswith("\n\nMean & interval\n")


def test_latex_is_escaped_and_parses_back() -> None:
    text = TABLE.latex()
    assert r"\caption{digits\_50\%, sweep-1. Mean \& interval}" in text
    assert r"\begin{tabular}{llrrr}" in text
    body = [line.strip() for line in text.splitlines() if line.endswith(r"\\")]
    assert [re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in body] == [
        ["hidden", r"learning\_rate", "runs", r"error of digit by q (\%)", "log score (nats)"],
        ["[8, 8]", "1e-3", "2 of 3", r"$25.0 \pm 3.1$", ""],
        [r"a|b\_c", "1e-1", "0 of 3", "", ""],
        ["[8, 8]", "1e-1", "3", "", "$-0.3333$"],
    ]
    assert [line.strip() for line in text.splitlines() if "rule" in line] == [r"\toprule", r"\midrule", r"\bottomrule"]


def test_the_terminal_shows_what_the_other_formats_do() -> None:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(TABLE.terminal())
    text = capture.get()
    for cell in ("hidden", "[8, 8]", "2 of 3", "25.0 ± 3.1", "-0.3333", "Mean & interval"):
        assert cell in text


def test_the_figure_has_a_line_for_each_point_of_the_other_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures_: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: figures_.append(self))
    rows = [
        Row({"rows": rows, "size": size}, 3, 3, {ERROR: Estimate(error, half)})
        for size, rows, error, half in [
            ("4", "1000", 0.1, 0.01),
            ("4", "10", 0.3, 0.02),
            ("4", "100", 0.2, 0.05),
            ("8", "10", 0.5, None),
            ("8", "1000", 0.4, 0.1),
        ]
    ]
    plot(
        SweepTable("t", "", ("rows", "size"), (ERROR,), (*rows, Row({"rows": "5", "size": "9"}, 0, 3, {}))),
        ERROR,
        True,
        [tmp_path],
    )
    [axes] = figures_[0].axes
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["size 4", "size 8"]
    first, second = axes.containers
    aside = 100 ** (0.01 / 2)
    assert first[0].get_xdata() == pytest.approx(np.array([10, 100, 1000]) / aside)
    assert second[0].get_xdata() == pytest.approx(np.array([10, 1000]) * aside)
    assert first[0].get_ydata() == pytest.approx([30, 20, 10])
    ends = [segment[:, 1] for segment in first[2][0].get_segments()]
    assert np.array(ends) == pytest.approx(np.array([[28, 32], [15, 25], [9, 11]]))
    assert figures_[0].get_figwidth() == 3.25
    sizes = {text.get_fontsize() for text in (*axes.get_xticklabels(), *axes.get_legend().get_texts(), axes.xaxis.label)}
    assert sizes == {7.0, 8.0}


@pytest.mark.parametrize("values", [("true", "false"), ("[8]", "[8, 8]"), ("a", "b")])
def test_values_that_are_no_numbers_stand_in_turn(tmp_path: Path, values: tuple[str, str]) -> None:
    rows = tuple(Row({"key": value}, 1, 1, {SCORE: Estimate(-1.0, None)}) for value in values)
    files = [tmp_path / "plot.pdf", tmp_path / "plot.png"]
    plot(SweepTable("t", "", ("key",), (SCORE,), rows), SCORE, True, files)
    pdf = files[0].read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf
    assert png_size(files[1].read_bytes()) == (975, 731)


FAKE_SEARCH = """
import json, math, pathlib, sys
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
point = json.loads((folder / "sweep.json").read_text())["runs"][name]["point"]
rate, size = float(point["training.learning_rate"]), point["q.digit.network.hidden"]
if rate > 0.05:
    sys.exit("the system is out of memory")
(folder / name).mkdir()
error = abs(math.log10(rate) + 3) / 10 + 0.2 * (size == "[8]")
scores = {"digit": {"q": {"kind": "error", "value": error}, "importance": {"kind": "error", "value": 0.0}}}
(folder / name / "validation.json").write_text(json.dumps({"predictions": scores, "log_evidence": 0.0, "density": True}))
(folder / name / "checkpoint.safetensors").touch()
"""
SEARCH = ["training.learning_rate=1e-5..1e-1:log", "q.digit.network.hidden=[8],[8, 8]", "training.epochs=1..3"]


@pytest.fixture
def searched(fake: Path) -> Path:
    """A folder for trials whose errors are known: least at a rate of 1e-3 with two hidden layers."""
    pytest.importorskip("optuna", reason="a search needs the extra 'search'")
    (fake / "modules" / "fake_run.py").write_text(FAKE_SEARCH)
    return fake / "sweep"


def search(folder: Path, trials: int, jobs: int = 1) -> Sweep:
    settings = ["data.validation={rows: 100, labels: true}"]
    return sweep(DIGITS, search=SEARCH, trials=trials, settings=settings, run=folder, jobs=jobs)


def test_a_search_finds_what_is_best_on_validation_rows(searched: Path) -> None:
    made = search(searched, 24, jobs=2)
    assert len(made.record.runs) == 24
    assert {entry.state for entry in made.record.runs.values()} <= {"done", "failed"}
    assert made.best is not None
    best = made.record.runs[made.best]
    assert best.settings[0] == "data.validation={rows: 100, labels: true}"
    assert best.point["q.digit.network.hidden"] == "[8, 8]"
    assert 3e-4 < float(best.point["training.learning_rate"]) < 3e-3
    assert best.point["training.epochs"] in {"1", "2", "3"}
    values = {name: json.loads((searched / name / "validation.json").read_text()) for name in made.runs}
    assert values[made.best] == min(values.values(), key=lambda value: value["predictions"]["digit"]["q"]["value"])
    metrics = [str(metric) for metric in made.table().metrics]
    assert metrics[0] == "validation error of digit by q (%)"
    assert png_size((searched / "plot.png").read_bytes()) == (975, 731)


def test_a_search_goes_on_as_if_it_had_never_stopped(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphvae.lab.sweeps.plot", lambda *arguments: None)  # takes as long as all the rest
    whole = search(searched.with_name("whole"), 14)
    search(searched, 5)
    (searched / "trial=3" / "checkpoint.safetensors").unlink(missing_ok=True)
    for leftover in searched.glob("trial=3/*"):
        leftover.unlink()
    (searched / "trial=3").rmdir()
    resumed = search(searched, 14)
    assert {name: entry.point for name, entry in resumed.record.runs.items()} == {
        name: entry.point for name, entry in whole.record.runs.items()
    }
    assert list(resume(searched).runs) == list(resumed.runs)


def test_proposals_follow_what_has_ended() -> None:
    pytest.importorskip("optuna", reason="a search needs the extra 'search'")
    space = parse_search(["a=0.0..1", "b=1..64:log", "c=x,[1, 2]"])
    tried = [suggest(space, [], number) for number in range(60)]
    ended = [(point, abs(float(point["a"]) - 0.25) + (point["c"] == "x")) for point in tried]
    proposed = [suggest(space, ended, number) for number in range(60, 80)]
    for point in (*tried, *proposed):
        assert 0 <= float(point["a"]) <= 1
        assert int(point["b"]) in range(1, 65)
        assert point["c"] in ("x", "[1, 2]")
    assert sum(point["c"] == "x" for point in tried) > 20 > 4 > sum(point["c"] == "x" for point in proposed)
    assert np.mean([abs(float(point["a"]) - 0.25) for point in proposed]) < 0.15
    assert suggest(space, ended, 60) == proposed[0]
    assert suggest(space, [*ended, (proposed[0], float("nan"))], 61) == proposed[1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "a search chooses by validation rows, never by test rows, and the spec has none"),
        ({"seeds": 2}, "a search goes without a grid and without seeds"),
        ({"grid": GRID}, "a search goes without a grid and without seeds"),
        ({"search": ["training.epochs=3..1"]}, "nothing lies between 3 and 1 for 'training.epochs'"),
        ({"search": ["training.learning_rate=0..1:log"]}, "nothing lies between 0 and 1 on a logarithmic scale"),
        ({"search": ["training.learning_rate=a..b"]}, "the ends of a range are numbers, and not 'a'"),
        ({"search": ["training.learning_rate=-1..1"]}, "--set:1:24: error[GV053]"),
        ({"search": ["training.epochs=1..2", "q.digit.network.activation=relu,tahn"]}, "did you mean 'tanh'"),
        ({"search": ["training.epochs"]}, "'training.epochs' is not KEY=VALUES"),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(tmp_path: Path, flags: dict[str, Any], message: str) -> None:
    pytest.importorskip("optuna", reason="a search needs the extra 'search'")
    with pytest.raises(UserError) as caught:
        sweep(DIGITS, run=tmp_path / "sweep", **{"search": SEARCH} | flags)
    assert message in str(caught.value)


def test_a_search_without_optuna_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(FlagError, match=r"a search needs Optuna\n  pip install 'graphvae\[search\]'"):
        sweep(DIGITS, search=SEARCH, run=tmp_path / "sweep")
