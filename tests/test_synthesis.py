"""Data drawn from the prior of an untrained model: the same every time, of the declared types, read back by the same spec."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from own_data import load, wine_folder
from test_drafts import graphvae

from graphvae.compiler.check import check
from graphvae.compiler.errors import FlagError
from graphvae.compiler.pipeline import compile_file
from graphvae.lab.models import new_model
from graphvae.lab.synthesis import synthesise
from graphvae.lab.training import train
from graphvae.lab.writers import write_table

ALL = """
model: all
variables:
  kind: {distribution: categorical, categories: 3, role: supervised}
  switch: {distribution: bernoulli, role: supervised}
  grade: {distribution: ordinal, categories: 4, size: 2, role: observed}
  count: {distribution: poisson, role: observed}
  tries: {distribution: binomial, total_count: 5, role: observed}
  price: {distribution: log_normal, role: observed}
  share: {distribution: beta, role: observed}
  turn: {distribution: von_mises, role: observed}
  mix: {distribution: dirichlet, size: 3, role: observed}
  level: {distribution: discretised_logistic, levels: 4, role: observed}
  size: {distribution: normal, size: 3, role: observed, missing: mask}
  byte: {distribution: continuous_bernoulli, role: observed}
  age: {distribution: gamma, role: given}
  group: {distribution: categorical, categories: 5, role: given}
  code: {distribution: normal, size: 2}
p:
  grade: [kind, code]
  count: [kind, code, age]
  tries: [kind, code]
  price: [kind, code]
  share: [kind, code]
  turn: [kind, code]
  mix: [kind, code]
  level: [kind, code]
  size: [switch, code, group]
  byte: [code]
q:
  kind: [size, count]
  switch: [size, kind]
  code: [size, kind, switch]
data:
  source: SOURCE
  columns: {kind: what, switch: switch, grade: [g1, g2], count: count, tries: tries, price: price, share: share, turn: turn,
    mix: [m1, m2, m3], level: level, size: [s1, s2, s3], byte: byte, age: age, group: group}
  categories: {kind: [ape, bee, "cat, or dog"]}
  transforms: {size: standardise, byte: {scale: [0, 255]}}
  labels: {switch: {fraction: 0.5}}
  split: {test: 0.2, by: person}
training: {epochs: 1}
"""


@pytest.mark.parametrize("source", ["csv", "npz", "parquet"])
def test_every_type_is_written_and_read_back(tmp_path: Path, source: str) -> None:
    spec = tmp_path / "all.yaml"
    spec.write_text(ALL.replace("SOURCE", source))
    path = tmp_path / f"data.{source}"
    columns = synthesise(spec, path, 300)
    assert set(columns["what"]) == {"ape", "bee", "cat, or dog", ""}
    assert 200 < columns["byte"].max() <= 255
    dataset = load(spec, path=path)
    assert dataset.rows + len(dataset.test["kind"]) == 300
    assert dataset.coding.categories == {"kind": ("ape", "bee", "cat, or dog")}
    shown = dataset.revealed["kind"] / dataset.rows
    assert abs(shown - 0.5) < 4 * 0.5 / np.sqrt(dataset.rows)
    assert dataset.revealed["switch"] == round(0.5 * dataset.rows)
    empty = dataset.train["size"].isnan().float().mean()
    assert abs(empty - 0.1) < 4 * 0.3 / np.sqrt(3 * dataset.rows)
    people = np.random.default_rng(0).permutation(10)[:2]  # the groups that test
    tested = np.isin(columns["person"].astype(int), people)
    np.testing.assert_allclose(dataset.in_units(dataset.test)["byte"], columns["byte"][tested], rtol=1e-5)
    np.testing.assert_allclose(dataset.test["mix"], np.stack([columns[f"m{part}"] for part in (1, 2, 3)], 1)[tested], rtol=1e-6)
    assert dataset.test["grade"].tolist() == np.stack([columns["g1"], columns["g2"]], 1)[tested].tolist()
    run = train(spec, data=path, run=tmp_path / "run")
    assert all(np.isfinite(value) for value in run.metrics()[0].values())


def test_values_are_those_of_the_prior(tmp_path: Path) -> None:
    """Drawn by the model itself, with the weights that its training begins with."""
    spec = wine_folder(tmp_path)
    columns = synthesise(spec, tmp_path / "drawn.csv", 50, ["data.labels={cultivar: {rows: 5}}", "training.seeds.init=3"])
    torch.manual_seed(3)
    model = new_model(compile_file(spec)).eval()
    drawn = model.sample(50, generator=torch.Generator().manual_seed(3))
    rows = np.stack([columns[name] for name in list(columns)[1:]], 1)
    there = ~np.isnan(rows)
    np.testing.assert_allclose(rows[there], drawn["chemistry"].double().numpy()[there], rtol=1e-6)
    assert columns["cultivar"].tolist() == drawn["cultivar"].tolist()
    with (tmp_path / "drawn.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == list(columns)
    assert [float(row["ash"]) if row["ash"] else np.nan for row in written] == pytest.approx(columns["ash"], nan_ok=True)


def test_what_a_split_looks_at_is_made_up(tmp_path: Path) -> None:
    spec = wine_folder(tmp_path)
    settings = ["data.split={column: fold, test: [test, train]}", "data.categories={cultivar: [a, b, c]}"]
    columns = synthesise(spec, tmp_path / "a.csv", 100, settings)
    assert set(columns["fold"]) == {"test", "train_"}
    dataset = load(spec, "data.split={column: fold, test: [test]}", settings[1], path=tmp_path / "a.csv")
    assert (dataset.rows, len(dataset.test["cultivar"])) == (80, 20)


def test_the_same_every_time_and_never_over_another(tmp_path: Path) -> None:
    spec = wine_folder(tmp_path)
    for name in ("one", "two"):
        synthesise(spec, tmp_path / f"{name}.csv", 20)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    with pytest.raises(FlagError, match=r"wine.csv exists"):
        synthesise(spec, tmp_path / "wine.csv", 20)
    with pytest.raises(FlagError, match=r"(?s)the spec reads a csv file, and .*a.npz is none.*ends in .csv"):
        synthesise(spec, tmp_path / "a.npz", 20)
    with pytest.raises(FlagError, match="cannot write"):
        synthesise(spec, tmp_path / "nowhere" / "a.csv", 20)


def test_a_spec_without_data_is_written_by_its_own_names(tmp_path: Path) -> None:
    columns = synthesise("tests/specs/everything.yaml", tmp_path / "a.npz", 7)
    with np.load(tmp_path / "a.npz") as file:
        assert set(file.files) == set(columns)
        assert all(len(file[name]) == 7 for name in file.files)
    deep = [name for name, values in columns.items() if values.ndim > 2]
    with pytest.raises(FlagError, match=f"a cell of a csv file has one value, and '{deep[0]}' has the shape"):
        synthesise("tests/specs/everything.yaml", tmp_path / "a.csv", 7)
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize("shape", ["[1, 4, 5]", "[3, 4, 5]", "[4, 5]"])
def test_pictures_are_a_folder(tmp_path: Path, shape: str) -> None:
    (tmp_path / "p.yaml").write_text(f"""
model: p
variables:
  kind: {{distribution: categorical, categories: 2, role: supervised}}
  image: {{distribution: bernoulli, shape: {shape}, role: observed}}
p: {{image: [kind]}}
q: {{kind: [image]}}
data: {{source: images, columns: {{image: image, kind: label}}, categories: {{kind: [a, b]}}, labels: {{kind: {{rows: 10}}}}}}
training: {{epochs: 1}}
""")
    columns = synthesise(tmp_path / "p.yaml", tmp_path / "drawn", 30)
    dataset = load(tmp_path / "p.yaml", path=tmp_path / "drawn")
    test = np.sort(np.random.default_rng(0).permutation(30)[:6])
    np.testing.assert_array_equal(dataset.test["image"], columns["image"][test])
    assert dataset.test["kind"].tolist() == [["a", "b"].index(name) for name in columns["label"][test]]
    with pytest.raises(FlagError, match="drawn exists"):
        synthesise(tmp_path / "p.yaml", tmp_path / "drawn", 30)


def test_built_in_data_have_a_file_to_try(tmp_path: Path) -> None:
    synthesise("specs/digits.yaml", tmp_path / "digits.npz", 400)
    settings = ("data.source=npz", f"data.path={tmp_path / 'digits.npz'}")
    assert check("specs/digits.yaml", settings) == []
    assert load(Path("specs/digits.yaml"), *settings).rows == 320


def test_the_command(tmp_path: Path) -> None:
    wine_folder(tmp_path)
    made = graphvae("synth", "wine.yaml", "-n", "12", "-o", "drawn.csv", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("drawn.csv: 12 rows of cultivar, alcohol, ")
    assert len((tmp_path / "drawn.csv").read_text().splitlines()) == 13
    again = graphvae("synth", "wine.yaml", "-o", "drawn.csv", folder=tmp_path)
    assert (again.returncode, again.stderr) == (2, "error[GV501]: drawn.csv exists\n  choose another name\n")


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="length"):
        write_table({"a": np.arange(3), "b": np.arange(4)}, tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []
