"""Training: the same seeds give the same bits, killed or not; labels in any pattern; and no NaN goes on."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from graphvae.compiler.errors import FlagError, RunError
from graphvae.lab import runs
from graphvae.lab.batches import Batches
from graphvae.lab.runs import Run
from graphvae.lab.training import resume, train

SMALL = ["training.epochs=3", "training.batch_size=64"]
TWINS = """
model: twins
variables:
  digit: {distribution: categorical, categories: 10, role: supervised}
  parity: {distribution: normal, role: supervised}
  style: {distribution: normal, size: 4}
  image: {distribution: bernoulli, soft: true, shape: [64], role: observed}
p: {image: [digit, parity, style]}
q:
  trunk: {parents: [image], network: {hidden: [16], normalisation: batch, dropout: 0.2}}
  style: [trunk]
  digit: [trunk, style]
  parity: [trunk, digit]
objective:
  samples: 2
  alpha: {digit: 10, parity: 1}
  beta: {style: {schedule: linear, from: 0.2, to: 1, steps: 40}}
  supervision_rate: {schedule: cosine, from: 0.5, to: 0.1, steps: 200}
data:
  source: digits
  columns: {image: image, digit: digit, parity: digit}
  labels: {digit: {rows: 60}, parity: {rows: 40}}
training: {epochs: 3, batch_size: 256}
"""


def numbers(run: Run) -> list[dict[str, float]]:
    return [{name: value for name, value in line.items() if name != "seconds"} for line in run.metrics()]


def same_weights(one: Run, other: Run) -> bool:
    first, second = one.checkpoint(), other.checkpoint()
    assert first is not None
    assert second is not None
    pairs = [(first.model, second.model), (first.optimiser, second.optimiser)]
    return all(set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a) for a, b in pairs)


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    spec = tmp_path / "twins.yaml"
    spec.write_text(TWINS)
    return spec


def test_a_run_folder_holds_everything_that_led_to_it(tmp_path: Path) -> None:
    run = train("specs/digits.yaml", SMALL, run=tmp_path / "run")
    assert {path.name for path in run.folder.iterdir()} == {
        "spec.yaml",
        "model.py",
        "manifest.json",
        "metrics.jsonl",
        "events",
        "checkpoint.safetensors",
    }
    manifest = run.manifest
    assert manifest["labels"]["revealed"] == {"digit": 50}
    assert len(manifest["labels"]["rows"]) == 50
    assert manifest["objective"] == {
        "alpha": 0.1 * 1438 / 50,
        "beta": 1.0,
        "temperature": {},
        "supervision_rate": 0.5,
        "samples": 1,
    }
    assert manifest["seeds"] == {"init": 0, "order": 0, "noise": 0, "labels": [0]}
    lines = run.metrics()
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    terms = {"bound", "kl.digit", "kl.style", "reconstruction.image", "label.digit", "effective_samples"}
    assert terms <= set(lines[0])
    assert lines[-1]["bound"] > lines[0]["bound"]
    assert list((run.folder / "events").iterdir())


def test_the_seeds_decide_every_bit(tmp_path: Path, twins: Path) -> None:
    one, again = (train(twins, run=tmp_path / name) for name in ("one", "again"))
    assert numbers(one) == numbers(again)
    assert same_weights(one, again)
    for seed in ("init", "order", "noise"):
        other = train(twins, [f"training.seeds.{seed}=1"], run=tmp_path / seed)
        assert numbers(other) != numbers(one)


def test_the_model_that_is_loaded_is_the_one_that_was_trained(tmp_path: Path, twins: Path) -> None:
    run = train(twins, run=tmp_path / "run")
    (run.folder / "model.py").write_text("raise SystemExit('nothing in a run folder is executed')")
    model = runs.load(run.folder)
    checkpoint = run.checkpoint()
    assert checkpoint is not None
    assert all(torch.equal(value, checkpoint.model[name]) for name, value in model.state_dict().items())
    assert not model.training


def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path, twins: Path) -> None:
    """Kill a real process at random moments, five times and more, and resume it to the end."""
    epochs = ["training.epochs=60", "training.batch_size=512"]
    whole = train(twins, epochs, run=tmp_path / "whole")
    settings = [part for setting in epochs for part in ("--set", setting)]
    moments = random.Random(0)
    folder, kills = tmp_path / "killed", 0
    while kills < 6:
        start = (
            ["--resume", str(folder)] if (folder / "manifest.json").exists() else [str(twins), "--run", str(folder), *settings]
        )
        command = [sys.executable, "-m", "graphvae", "train", *start]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
        _wait_for_epochs(folder, len(Run(folder).metrics()) + moments.randint(1, 8), process)
        time.sleep(moments.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the process ended before it could be killed"
        kills += 1
    assert len(Run(folder).metrics()) < 60
    resumed = resume(folder)
    assert numbers(resumed) == numbers(whole)
    assert same_weights(resumed, whole)


def _wait_for_epochs(folder: Path, epochs: int, process: subprocess.Popen[bytes]) -> None:
    while len(Run(folder).metrics()) < epochs and process.poll() is None:
        time.sleep(0.005)


def test_resuming_forgets_what_came_after_the_checkpoint(tmp_path: Path, twins: Path) -> None:
    run = train(twins, run=tmp_path / "run")
    before = numbers(run)
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 4, "bound": 0.0}) + '\n{"epoch": 5, "bou')
    resume(run.folder)
    assert numbers(run) == before


def test_schedules_are_followed_and_logged(tmp_path: Path, twins: Path) -> None:
    settings = ["training.epochs=4", "training.batch_size=128", "objective.beta.style.steps=30"]
    lines = train(twins, settings, run=tmp_path / "run").metrics()
    rates = [line["schedule.supervision_rate"] for line in lines]
    assert rates == sorted(rates, reverse=True)
    beta = [line["schedule.beta.style"] for line in lines]
    batches = _batches(tmp_path / "run")
    assert beta == pytest.approx([min(1.0, 0.2 + 0.8 * (batches.place(epoch + 1).start - 1) / 30) for epoch in range(4)])


def _batches(folder: Path) -> Batches:
    """The batches of a run of the twins, from its manifest."""
    labelled = Run(folder).manifest["labels"]["rows"]
    unlabelled = [row for row in range(Run(folder).manifest["data"]["rows"]) if row not in labelled]

    def rate(step: int) -> float:
        return 0.5 - 0.4 * (1 - math.cos(math.pi * min(1.0, step / 200))) / 2

    return Batches(labelled, unlabelled, 128, rate, seed=0)


RELAXED = """
model: relaxed
variables:
  kind: {distribution: categorical, categories: 4}
  tags: {distribution: bernoulli, size: 3}
  amount: {distribution: poisson}
  image: {distribution: bernoulli, soft: true, shape: [64], role: observed}
p: {image: [kind, tags, amount]}
q:
  kind: {parents: [image], gradient: concrete, temperature: {schedule: cosine, from: 1, to: 0.3, steps: 20}}
  tags: {parents: [image], gradient: straight_through}
  amount: [image, kind]
objective: {BOUND}
data: {source: digits, columns: {image: image}}
training: {epochs: 3, batch_size: 256}
"""


@pytest.mark.parametrize("bound", ["samples: 3, kl: closed", "samples: 3"])
def test_every_gradient_trains_and_resumes(tmp_path: Path, bound: str) -> None:
    (tmp_path / "relaxed.yaml").write_text(RELAXED.replace("BOUND", bound))
    whole = train(tmp_path / "relaxed.yaml", run=tmp_path / "whole")
    lines = whole.metrics()
    assert lines[-1]["bound"] > lines[0]["bound"]
    assert lines[0]["schedule.temperature.kind"] > lines[-1]["schedule.temperature.kind"] > 0.3
    assert whole.manifest["objective"]["temperature"]["tags"] == 0.66
    cut = train(tmp_path / "relaxed.yaml", ["training.epochs=2"], run=tmp_path / "cut")
    spec = (cut.folder / "spec.yaml").read_text().replace("epochs: 2", "epochs: 3")
    (cut.folder / "spec.yaml").write_text(spec)
    assert numbers(resume(cut.folder)) == numbers(whole)
    assert same_weights(cut, whole)


@pytest.mark.parametrize(
    "labels", ["{}", "{digit: {fraction: 1.0}, parity: {fraction: 1.0}}", "{digit: {rows: 5}}", "{parity: {fraction: 1.0}}"]
)
def test_any_pattern_of_labels_trains(tmp_path: Path, twins: Path, labels: str) -> None:
    run = train(twins, [f"data.labels={labels}", "training.epochs=1"], run=tmp_path / "run")
    [line] = run.metrics()
    assert ("label.digit" in line) == ("digit" in labels)
    assert ("label.parity" in line) == ("parity" in labels)
    assert all(value == value for value in line.values())


def test_validation_labels_are_read_only_where_asked(tmp_path: Path) -> None:
    run = train("specs/digits.yaml", [*SMALL, "data.validation={rows: 100, labels: true}"], run=tmp_path / "run")
    assert all(0 <= line["validation.error.digit"] <= 1 for line in run.metrics())


def test_an_objective_that_leaves_the_real_numbers_names_term_variable_and_rows(tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        train("specs/digits.yaml", [*SMALL, "training.learning_rate=1e30"], run=tmp_path / "run")
    message = str(error.value)
    assert "the objective left the real numbers at step 1: " in message
    assert "image" in message
    assert "in rows [" in message


def test_no_run_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(FlagError, match="exists"):
        train("specs/digits.yaml", SMALL, run=tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_runs_are_numbered(tmp_path: Path) -> None:
    assert runs.free_name(tmp_path / "digits").name == "1"
    (tmp_path / "digits" / "1").mkdir(parents=True)
    assert runs.free_name(tmp_path / "digits").name == "2"


def test_what_cannot_be_resumed_says_why(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run folder"):
        resume(tmp_path)
    run = train("specs/digits.yaml", SMALL, run=tmp_path / "run")
    manifest = run.manifest
    manifest["data"]["sha256"] = "0" * 64
    run.write_json("manifest.json", manifest)
    with pytest.raises(RunError, match="its checksum differs"):
        resume(run.folder)
    (run.folder / "checkpoint.safetensors").write_bytes(b"cut short")
    with pytest.raises(RunError, match="cannot be read"):
        runs.load(run.folder)
    (run.folder / "checkpoint.safetensors").unlink()
    with pytest.raises(RunError, match="no checkpoint yet"):
        runs.load(run.folder)


@pytest.mark.parametrize(
    ("error", "raised"), [(OSError(28, "No space left"), FlagError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_a_run_that_cannot_be_begun_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, raised: type[BaseException]
) -> None:
    def fail(path: Path, content: bytes) -> None:
        raise error

    monkeypatch.setattr(runs, "replace_file", fail)
    with pytest.raises(raised):
        train("specs/digits.yaml", SMALL, run=tmp_path / "run")
    assert not list(tmp_path.iterdir())
