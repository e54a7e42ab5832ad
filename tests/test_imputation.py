"""Filling in a table from the command line's verb: what was there stands, and what was not is drawn from the posterior."""

from pathlib import Path

import numpy as np
import pytest
from test_data import wines

from graphvae.compiler.errors import DataError, FlagError
from graphvae.lab.imputation import impute
from graphvae.lab.runs import Run
from graphvae.lab.synthesis import synthesise
from graphvae.lab.training import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("imputation")
    np.savez(folder / "wine.npz", **wines(120))
    return train("specs/wine.yaml", ["training.epochs=3"], data=folder / "wine.npz", run=folder / "run")


def test_what_is_there_stands_and_what_is_not_is_filled_in(run: Run, tmp_path: Path) -> None:
    table = wines(30)
    table["cultivar"][:10] = -1
    np.savez(tmp_path / "holes.npz", **table)
    filled = impute(run, tmp_path / "holes.npz", samples=20, draws=4)
    there = ~np.isnan(table["chemistry"])
    assert filled.means["chemistry"].shape == (30, 13)
    assert filled.draws["chemistry"].shape == (4, 30, 13)
    assert not np.isnan(filled.means["chemistry"]).any()
    np.testing.assert_array_equal(filled.means["chemistry"][there], table["chemistry"][there])
    drawn = filled.draws["chemistry"]
    assert (drawn[:, there] == drawn[0, there]).all()
    assert (drawn[:, ~there] != drawn[0, ~there]).any()
    np.testing.assert_allclose(filled.means["cultivar"].sum(1), 1, rtol=1e-5)
    assert (filled.means["cultivar"].argmax(1)[10:] == table["cultivar"][10:]).all()
    assert (filled.draws["cultivar"][:, 10:] == table["cultivar"][10:]).all()
    again = impute(run.folder, tmp_path / "holes.npz", samples=20, draws=4)
    np.testing.assert_array_equal(again.draws["chemistry"], drawn)


def test_labels_may_be_left_out_and_observed_columns_may_not(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "unlabelled.npz", chemistry=wines(5)["chemistry"])
    assert impute(run, tmp_path / "unlabelled.npz").means["cultivar"].shape == (5, 3)
    np.savez(tmp_path / "labels.npz", cultivar=wines(5)["cultivar"])
    with pytest.raises(DataError, match="npz has no column 'chemistry'"):
        impute(run, tmp_path / "labels.npz")


def test_a_file_is_written_and_never_overwritten(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "holes.npz", **wines(5))
    filled = impute(run, tmp_path / "holes.npz", samples=5, draws=2)
    filled.save(tmp_path / "filled.npz")
    with np.load(tmp_path / "filled.npz") as file:
        assert sorted(file.files) == ["chemistry.draws", "chemistry.mean", "cultivar.draws", "cultivar.mean"]
    with pytest.raises(FlagError, match="exists"):
        filled.save(tmp_path / "filled.npz")
    with pytest.raises(FlagError, match="cannot write"):
        filled.save(tmp_path / "nowhere" / "filled.npz")


MIXED = """
model: mixed
variables:
  switch: {distribution: bernoulli, size: 2, role: observed, missing: mask}
  count: {distribution: poisson, role: observed, missing: mask}
  level: {distribution: discretised_logistic, levels: 5, role: observed, missing: mask}
  grade: {distribution: ordinal, categories: 3, role: observed, missing: mask}
  size: {distribution: normal, role: supervised}
  code: {distribution: normal, size: 2}
p: {switch: [code], count: [code], level: [code], grade: [code, size]}
q: {size: [switch, count, level, grade], code: [switch, count, level, grade, size]}
data:
  source: csv
  columns: {switch: [a, b], count: count, level: level, grade: grade, size: size}
  categories: {grade: [low, mid, high]}
  transforms: {level: {scale: [0, 100]}, size: standardise}
training: {epochs: 2}
"""


def test_a_table_holds_what_its_columns_may_hold(tmp_path: Path) -> None:
    (tmp_path / "mixed.yaml").write_text(MIXED)
    columns = synthesise(tmp_path / "mixed.yaml", tmp_path / "drawn.csv", 100)
    run = train(tmp_path / "mixed.yaml", data=tmp_path / "drawn.csv", run=tmp_path / "run")
    filled = impute(run, tmp_path / "drawn.csv", samples=10, draws=3)
    for name, values in columns.items():
        there = values != "" if values.dtype.kind == "U" else ~np.isnan(values)
        assert 0 < there.sum() < 100
        assert filled.table[name][there].tolist() == values[there].tolist()
        assert (filled.draws[name][:, there] == filled.draws[name][0, there]).all()
    for name in ("a", "b"):
        assert set(filled.table[name]) <= {0, 1}
        assert (filled.table[name] == (filled.means[name] > 0.5)).all()
    assert (filled.table["count"] == np.rint(filled.means["count"])).all()
    assert set(filled.table["level"]) <= {0, 25, 50, 75, 100}
    assert (abs(filled.table["level"] - filled.means["level"]) <= 12.5 + 1e-4).all()
    assert set(filled.table["grade"]) <= {"low", "mid", "high"}
    for ending in ("csv", "parquet"):
        filled.save(tmp_path / f"filled.{ending}")
        again = impute(run, tmp_path / f"filled.{ending}", samples=2, draws=1)
        assert {name: values.tolist() for name, values in again.table.items()} == {
            name: values.tolist() for name, values in filled.table.items()
        }
