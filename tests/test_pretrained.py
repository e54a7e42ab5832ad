"""Weights of sub-models from runs of their own: they land where they belong, or nowhere."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from test_sweeps import in_this_process
from torch import Tensor

from graphvae.compiler.errors import FlagError, RunError
from graphvae.compiler.pipeline import compile_file
from graphvae.lab import runs, sweeps
from graphvae.lab.models import new_model
from graphvae.lab.pretrained import load_pretrained, read_pretrained
from graphvae.lab.sweeps import Sweep, sweep
from graphvae.lab.training import resume, train

GLYPH = """
model: glyph
variables:
  digit: {distribution: categorical, categories: 10, role: supervised}
  style: {distribution: normal, size: 2}
  image: {distribution: bernoulli, soft: true, shape: [1, 8, 8], role: observed}
p:
  image: {parents: [digit, style], network: {hidden: [6], normalisation: batch}}
q:
  digit: {parents: [image], network: {hidden: [6]}}
  style: {parents: [image, digit], network: {hidden: [6]}}
data: {source: digits, columns: {image: image, digit: digit}, labels: {digit: {rows: 50}}}
training: {epochs: 1, batch_size: 500}
"""
PAGE = """
model: page
plates: {slot: {size: 2}}
submodels:
  glyph: {spec: glyph.yaml, plate: slot, BLOCK, q: {digit: {gradient: concrete}}}
variables:
  place: {distribution: normal, plate: slot}
  canvas: {distribution: normal, size: 5, role: observed}
p:
  canvas: {parents: [glyph.image, place], network: {hidden: [6], pool: sum}}
q:
  place: {parents: [canvas, PREVIOUS], network: {hidden: [6]}}
  glyph.image: {parents: [canvas, place], network: {hidden: [6]}}
data: {source: npz, path: page.npz, columns: {canvas: canvas}}
training: {epochs: 1}
"""
SHEET = """
model: sheet
submodels: {page: {spec: page.yaml, BLOCK}}
variables: {paper: {distribution: normal, size: 3, role: observed}}
p: {paper: [page.canvas]}
q: {page.canvas: [paper]}
data: {source: npz, path: page.npz, columns: {paper: paper}}
training: {epochs: 1}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a glyph and its run."""
    folder = tmp_path_factory.mktemp("glyphs")
    (folder / "glyph.yaml").write_text(GLYPH)
    train(folder / "glyph.yaml", run=folder / "runs" / "glyph")
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the process: what was trained, and rows for a page and a sheet."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    np.savez("page.npz", canvas=draw.normal(size=(40, 5)), paper=draw.normal(size=(40, 3)))
    page()
    return tmp_path


def page(block: str = "weights: runs/glyph, variables: {digit: {role: latent}}", previous: str = "slot") -> None:
    Path("page.yaml").write_text(PAGE.replace("BLOCK", block).replace("PREVIOUS", previous))


def sheet(block: str) -> None:
    Path("sheet.yaml").write_text(SHEET.replace("BLOCK", block))


def loaded(spec: str) -> dict[str, Tensor]:
    """The weights that a training of a spec would begin with, without those that are drawn."""
    compilation = compile_file(spec)
    model = new_model(compilation)
    for value in model.state_dict().values():
        value.fill_(77)
    load_pretrained(model, compilation, read_pretrained(compilation))
    return model.state_dict()


def weights(run: str) -> Mapping[str, Tensor]:
    checkpoint = runs.open_run(run).checkpoint()
    assert checkpoint
    return checkpoint.model


def under(path: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What stands in p and q under a path, by the names that it has in there."""
    found = {}
    for name, value in tensors.items():
        side, _, rest = name.partition(".")
        if rest.startswith(f"{path}."):
            found[f"{side}.{rest.removeprefix(f'{path}.')}"] = value
    return found


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def refusal(spec: str = "page.yaml") -> str:
    with pytest.raises(RunError) as error:
        loaded(spec)
    return str(error.value)


@pytest.mark.parametrize("previous", ["slot", "place.previous"])
def test_every_weight_of_a_sub_model_is_that_of_its_run(folder: Path, previous: str) -> None:
    page(previous=previous)
    found = loaded("page.yaml")
    glyph = under("glyph", found)
    assert same(glyph, weights("runs/glyph"))
    assert any("running_mean" in name for name in glyph)
    others = [value for name, value in found.items() if ".glyph." not in name]
    assert len(others) > 8
    assert all((value == 77).all() for value in others)


def test_a_sub_model_of_a_sub_model_has_its_own_run(folder: Path) -> None:
    sheet("train: frozen")
    found = loaded("sheet.yaml")
    assert same(under("page.glyph", found), weights("runs/glyph"))
    assert all((value == 77).all() for name, value in found.items() if ".glyph." not in name)


def test_a_run_of_a_sub_model_holds_the_weights_of_those_in_it(folder: Path) -> None:
    train("page.yaml", run="runs/page")
    sheet("weights: runs/page")
    found = loaded("sheet.yaml")
    assert same(under("page", found), weights("runs/page"))
    assert not same(under("page.glyph", found), weights("runs/glyph")), "they were tuned with the page"


@pytest.mark.parametrize("how", ["frozen", "fine_tune"])
def test_frozen_weights_stay_and_others_are_tuned(folder: Path, how: str) -> None:
    page(f"weights: runs/glyph, train: {how}, variables: {{digit: {{role: latent}}}}")
    run = train("page.yaml", run="runs/page")
    glyph = under("glyph", weights("runs/page"))
    assert same(glyph, weights("runs/glyph")) == (how == "frozen")
    assert run.manifest["pretrained"]["glyph"]["run"] == str(Path("runs/glyph").resolve())
    assert run.manifest["pretrained"]["glyph"]["epoch"] == 1


def test_what_is_no_part_of_the_model_may_differ(folder: Path) -> None:
    text = GLYPH.replace("labels: {digit: {rows: 50}}", "labels: {digit: {rows: 70}}").replace("epochs: 1", "epochs: 3")
    text = text.replace("digit: {parents: [image], ", "digit: {parents: [image], gradient: score_function, ")
    Path("glyph.yaml").write_text(f"{text}objective: {{alpha: 7}}\n")
    assert same(under("glyph", loaded("page.yaml")), weights("runs/glyph"))


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("size: 2", "size: 3", "variables.style.size is 2 in the run, and 3 here"),
        (
            "hidden: [6], normalisation: batch",
            "hidden: [6]",
            "p.image.network.normalisation is batch in the run, and none here",
        ),
        (
            "q:\n",
            "q:\n  trunk: {parents: [image], network: {hidden: [4]}}\n",
            "q.trunk.network.hidden is nothing in the run, and [4]",
        ),
    ],
)
def test_a_run_of_another_model_is_refused(folder: Path, old: str, new: str, difference: str) -> None:
    Path("glyph.yaml").write_text(GLYPH.replace(old, new, 1))
    message = refusal()
    assert "the run runs/glyph did not train glyph.yaml, the sub-model 'glyph'" in message
    assert difference in message
    assert message.startswith("page.yaml:5:3: error[GV401]")


def test_a_difference_far_inside_is_found(folder: Path) -> None:
    train("page.yaml", run="runs/page")
    sheet("weights: runs/page")
    Path("glyph.yaml").write_text(GLYPH.replace("size: 2", "size: 3"))
    page("variables: {digit: {role: latent}}")
    message = refusal("sheet.yaml")
    assert "submodels.glyph.spec.variables.style.size is 2 in the run, and 3 here" in message
    assert "did not train page.yaml, the sub-model 'page'" in message


def test_a_run_that_cannot_be_used_is_refused_at_its_place_in_the_spec(folder: Path) -> None:
    page("weights: runs/nowhere, variables: {digit: {role: latent}}")
    assert "page.yaml:5:3: error[GV401]: runs/nowhere is not a run folder" in refusal()
    page()
    Path("runs/glyph/checkpoint.safetensors").unlink()
    assert "page.yaml:5:3: error[GV401]: runs/glyph has no checkpoint yet" in refusal()
    with pytest.raises(RunError):
        train("page.yaml", run="runs/page")
    assert not Path("runs/page").exists(), "nothing has been started"


@pytest.mark.parametrize("change", ["missing", "reshaped"])
def test_a_checkpoint_that_does_not_hold_the_weights_is_refused(folder: Path, change: str) -> None:
    run = runs.open_run("runs/glyph")
    checkpoint = run.checkpoint()
    assert checkpoint
    name = "decoder.image.body.0.running_mean"
    tensors = {key: value for key, value in checkpoint.model.items() if key != name}
    if change == "reshaped":
        tensors[name] = torch.zeros(7)
    run.save(runs.Checkpoint(1, 1, tensors, checkpoint.optimiser))
    has = "no" if change == "missing" else "[7] as"
    assert f"has {has} {name}, and 'glyph' needs it as [6]" in refusal()


def test_a_run_folder_has_all_that_it_needs_to_be_loaded_and_resumed(folder: Path) -> None:
    sheet("weights: runs/page")
    train("page.yaml", run="runs/page")
    whole = train("sheet.yaml", ["training.epochs=2"], run="runs/whole")
    train("sheet.yaml", run="runs/cut")
    for name in ("glyph.yaml", "page.yaml", "sheet.yaml", "runs/glyph", "runs/page"):
        Path(name).rename(f"{name}.gone")
    Path("runs/cut").rename("moved")
    text = Path("moved/spec.yaml").read_text()
    Path("moved/spec.yaml").write_text(text.replace("epochs: 1", "epochs: 2"))
    resumed = resume("moved")
    assert same(weights("moved"), weights("runs/whole"))
    assert resumed.metrics()[1]["bound"] == whole.metrics()[1]["bound"]
    assert runs.load("moved").variables.keys() == {
        "paper",
        "page.place",
        "page.canvas",
        *(f"page.glyph.{name}" for name in GLYPHS),
    }


def test_a_sweep_keeps_the_sub_models_as_they_were(folder: Path) -> None:
    train("page.yaml", run="runs/page")
    sheet("weights: &run '../runs/page'")
    Path("specs").mkdir()
    for name in ("sheet.yaml", "page.yaml", "glyph.yaml"):
        Path(name).rename(Path("specs") / name)
    settings = ["data.split={test: 0.25}"]
    train("specs/sheet.yaml", [*settings, "training.seeds.init=1"], data="page.npz", run="runs/alone")

    def swept() -> Sweep:
        with in_this_process():
            grid = ["training.seeds.init=1,2"]
            return sweep("specs/sheet.yaml", grid, settings=settings, data="page.npz", run="runs/sweep", samples=2)

    made = swept()
    assert not made.failed
    assert same(weights("runs/sweep/init=1"), weights("runs/alone"))
    assert "weights: &run " in Path("runs/sweep/sheet.yaml").read_text()
    figures = made.table()
    assert swept().table() == figures
    Path("specs/glyph.yaml").write_text(GLYPH + "# another")
    with pytest.raises(FlagError, match="was begun with another spec"):
        swept()
    before = weights("runs/sweep/init=2")
    shutil.rmtree("specs")
    shutil.rmtree("runs/sweep/init=2")
    with in_this_process():
        assert not sweeps.resume("runs/sweep").failed
    assert same(weights("runs/sweep/init=2"), before)


GLYPHS = ("digit", "style", "image")


def test_a_training_that_had_not_begun_begins_with_the_same_weights_or_not_at_all(folder: Path) -> None:
    whole = train("page.yaml", run="runs/whole")
    shutil.copytree("runs/whole", "runs/cut")
    Path("runs/cut/checkpoint.safetensors").unlink()
    resume("runs/cut")
    assert same(weights("runs/cut"), weights("runs/whole"))
    Path("runs/cut/checkpoint.safetensors").unlink()
    shutil.copy(whole.folder / "checkpoint.safetensors", "runs/glyph/checkpoint.safetensors")
    with pytest.raises(RunError, match="is not what 'glyph' had its weights from: its checksum differs"):
        resume("runs/cut")
