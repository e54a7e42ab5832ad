"""Evaluation: the table, the file, and figures that agree with each other."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from test_training import TWINS

from graphvae.compiler.errors import RunError
from graphvae.compiler.pipeline import compile_file
from graphvae.lab import runs
from graphvae.lab.evaluation import evaluate
from graphvae.lab.models import new_model
from graphvae.lab.runs import Run
from graphvae.lab.scores import errors, predict
from graphvae.lab.training import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "twins.yaml").write_text(TWINS)
    return train(folder / "twins.yaml", ["training.epochs=30"], run=folder / "run")


def test_every_supervised_variable_is_scored_in_both_ways(run: Run) -> None:
    found = evaluate(run.folder, samples=10)
    assert found.rows == 359
    assert {name: list(ways) for name, ways in found.predictions.items()} == {
        "digit": ["q", "importance"],
        "parity": ["q", "importance"],
    }
    assert found.predictions["digit"]["q"].kind == "error"
    assert found.predictions["digit"]["q"].value < 0.6
    assert found.predictions["parity"]["q"].kind == "rmse"
    assert 1 <= found.effective_samples <= 10
    assert not found.density


def test_the_file_says_what_the_table_says(run: Run) -> None:
    found = evaluate(run.folder, samples=5)
    written = json.loads((run.folder / "evaluation.json").read_text())
    assert written["predictions"]["digit"]["q"]["value"] == found.predictions["digit"]["q"].value
    console = Console(width=120)
    with console.capture() as capture:
        console.print(found.table())
    text = capture.get()
    assert f"{100 * found.predictions['digit']['q'].value:.4g} %" in text
    assert "soft: no density" in text


def test_evaluation_repeats_itself(run: Run) -> None:
    assert evaluate(run.folder, samples=5) == evaluate(run.folder, samples=5)


def test_scores_are_those_of_the_predictions() -> None:
    model = new_model(compile_file("specs/digits.yaml"))
    table = {"image": torch.rand(50, 1, 8, 8), "digit": torch.arange(50) % 10}
    probabilities = torch.nn.functional.one_hot(table["digit"], 10).float()
    assert errors(model, {"digit": probabilities}, table)["digit"].value == 0
    wrong = probabilities.roll(1, 0)
    wrong[:10] = probabilities[:10]
    score = errors(model, {"digit": wrong}, table)["digit"]
    assert score.value == pytest.approx(0.8)
    assert score.standard_error == pytest.approx((0.8 * 0.2 / 50) ** 0.5)


def test_labels_are_not_looked_at_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model = new_model(compile_file("specs/digits.yaml"))
    images = torch.rand(30, 1, 8, 8)
    with_labels = {"image": images, "digit": torch.zeros(30, dtype=torch.int64)}
    whole = predict(model, with_labels, "q", 1).means["digit"]
    assert torch.equal(whole, predict(model, {"image": images}, "q", 1).means["digit"])
    monkeypatch.setattr("graphvae.lab.scores.ELEMENTS", 7 * 10 * 512)
    assert torch.allclose(whole, predict(model, {"image": images}, "q", 1).means["digit"])
    assert model.training


def test_a_run_without_test_rows_says_so(tmp_path: Path) -> None:
    made = train("specs/digits.yaml", ["training.epochs=1", "data.split.test=0"], run=tmp_path / "run")
    with pytest.raises(RunError, match="no test rows"):
        evaluate(made)
    assert runs.open_run(made.folder) == made
