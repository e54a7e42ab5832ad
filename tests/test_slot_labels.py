"""Data of plates: values in slots, a count that says which of them there are, and labels that agree with it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from graphvae.compiler.errors import DataError, FlagError
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.pipeline import compile_file
from graphvae.compiler.resolve import resolve
from graphvae.compiler.source import read_text
from graphvae.compiler.spec import parse
from graphvae.lab.binding import bind, named, unbound
from graphvae.lab.data import Dataset, load_data
from graphvae.lab.evaluation import evaluate
from graphvae.lab.imputation import impute
from graphvae.lab.models import model_class, new_model
from graphvae.lab.scores import errors
from graphvae.lab.slots import beyond, closed, complete, there
from graphvae.lab.sources import Rows, Want, read_source
from graphvae.lab.synthesis import synthesise
from graphvae.lab.training import train
from graphvae.lab.writers import write_table

SCENES = """
model: scenes
plates: {slot: {size: 3, active: count}}
variables:
  count: {distribution: categorical, values: [1, 2, 3], role: supervised}
  digit: {distribution: categorical, categories: 4, plate: slot, role: supervised}
  place: {distribution: normal, size: 2, plate: slot, role: supervised}
  canvas: {distribution: normal, size: 5, role: observed}
p:
  canvas: {parents: [digit, place], network: {hidden: [6], pool: sum}}
q:
  count: {parents: [canvas], network: {hidden: [6]}}
  digit: {parents: [canvas, slot], network: {hidden: [6]}}
  place: {parents: [canvas, digit], network: {hidden: [6]}}
data:
  source: npz
  columns: {count: count, digit: digit, place: place, canvas: canvas}
  slots: {order: as_stored}
  labels: [{variables: [count, digit, place], rows: 20, seed: 0}]
training: {epochs: 2, batch_size: 32}
"""


def rows(number: int = 60) -> dict[str, np.ndarray]:
    """Scenes with labels in all their slots, and nothing in the others."""
    draw = np.random.default_rng(0)
    count = draw.integers(1, 4, number)
    there = np.arange(3) < count[:, None]
    return {
        "count": count,
        "digit": np.where(there, draw.integers(0, 4, (number, 3)), -1),
        "place": np.where(there[..., None], draw.normal(size=(number, 3, 2)), np.nan),
        "canvas": draw.normal(size=(number, 5)),
    }


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    (tmp_path / "scenes.yaml").write_text(SCENES)
    return tmp_path / "scenes.yaml"


def load(spec: Path, columns: dict[str, np.ndarray], *settings: str) -> Dataset:
    path = spec.with_suffix(".npz")
    np.savez(path, **columns)
    compilation = compile_file(spec, settings)
    return load_data(compilation.graph, model_class(compilation).variables, path)


def refusal(spec: Path, columns: dict[str, np.ndarray], *settings: str) -> str:
    with pytest.raises(DataError) as error:
        load(spec, columns, *settings)
    return str(error.value)


def graph(text: str = SCENES) -> ModelGraph:
    return resolve(parse(read_text(text, "m.yaml")))


def bound(text: str = SCENES, **columns: object) -> dict[str, np.ndarray]:
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    return bind(graph(text), Rows(arrays, tuple(arrays)), partly=True).values


CANVAS = np.zeros((2, 5))


# Values of plates


def test_an_array_holds_a_value_for_each_slot() -> None:
    found = bound(canvas=CANVAS, digit=[[0, 3, -1], [1, -1, -1]], place=np.arange(12.0).reshape(2, 3, 2))
    assert found["digit"].tolist() == [[0, 3, -1], [1, -1, -1]]
    assert_array_equal(found["place"], np.arange(12.0).reshape(2, 3, 2))
    with pytest.raises(DataError, match=r"'digit' has the shape \[3\], and the column 'digit' the shape \[4\]"):
        bound(canvas=CANVAS, digit=np.zeros((2, 4), int))


def test_a_list_of_columns_goes_slot_by_slot() -> None:
    text = SCENES.replace("digit: digit", "digit: [a, b, c]").replace("place: place", "place: [s, t, u, v, w, x]")
    values = {name: np.array([index, index + 10.0]) for index, name in enumerate("stuvwx")}
    found = bound(text, canvas=CANVAS, a=[0, 1], b=[2, 3], c=[3, -1], **values)
    assert found["digit"].tolist() == [[0, 2, 3], [1, 3, -1]]
    assert found["place"].tolist() == [[[0, 1], [2, 3], [4, 5]], [[10, 11], [12, 13], [14, 15]]]
    columns = unbound(graph(text), graph(text).variables["place"], found["place"])
    assert {name: column.tolist() for name, column in columns.items()} == {name: each.tolist() for name, each in values.items()}


def test_names_of_categories_stand_in_slots() -> None:
    texts = np.array([["kiwi", "", "fig"], ["fig", "date", "apple"]], dtype=object)
    assert bound(canvas=CANVAS, digit=texts)["digit"].tolist() == [[3, -1, 2], [2, 1, 0]]


def test_a_count_is_the_number_that_it_stands_for() -> None:
    for column in ([3, -1, 1], [3.0, np.nan, 1.0], np.array(["3", "", "1.0"], dtype=object)):
        found = bind(graph(), Rows({"count": np.asarray(column), "canvas": np.zeros((3, 5))}, ()), partly=True)
        assert found.values["count"].tolist() == [2, -1, 0]
        assert named(found.values["count"], graph().variables["count"].values).tolist() == [3, -1, 1]
        assert found.categories["count"] == ("1", "2", "3")
    for wrong in (0, 4):
        with pytest.raises(DataError, match=f"'count' is '{wrong}' in row 1, which is none of its categories"):
            bound(count=[1, wrong], canvas=CANVAS)


# Which slots there are


def slots_by_hand(counts: Sequence[float], size: int) -> list[list[bool]]:
    return [[slot >= count for slot in range(size)] for count in counts]


@pytest.mark.parametrize("text", ["values: [1, 3]", "categories: 4"])
def test_slots_beyond_a_count(text: str) -> None:
    made = graph(SCENES.replace("values: [1, 2, 3]", text))
    codes = np.array([0, 1, -1])
    values = {"count": codes, "digit": np.zeros((3, 3), int)}
    counts = {"values: [1, 3]": [1, 3], "categories: 4": [0, 1]}[text]
    node = made.variables["digit"]
    assert beyond(made, node, values, 3).tolist() == [*slots_by_hand(counts, 3), [False] * 3]
    assert closed(made, node, values, 3).tolist() == [*slots_by_hand(counts, 3), [True] * 3]
    assert not beyond(made, node, {}, 3).any()
    assert closed(made, node, {}, 3).all()
    assert beyond(made, made.variables["canvas"], values, 3).tolist() == [False] * 3


def test_counts_in_plates_that_are_counted() -> None:
    """Every group has a number of members of its own, and there is a number of groups: told by going through them all."""
    made = graph("""
model: groups
plates: {group: {size: 2, active: groups}, member: {size: 3, active: members}}
variables:
  groups: {distribution: categorical, categories: 3, role: given}
  members: {distribution: binomial, total_count: 3, plate: group, role: given}
  name: {distribution: normal, size: 2, plate: [group, member], role: observed, missing: mask}
  z: {distribution: normal, plate: [group, member]}
p: {name: [z]}
q: {z: [name]}
""")
    draw = np.random.default_rng(0)
    values = {"groups": draw.integers(0, 3, 50), "members": draw.integers(0, 4, (50, 2)).astype(float)}
    found = beyond(made, made.variables["name"], values, 50)
    for row in range(50):
        for group in range(2):
            for member in range(3):
                active = group < values["groups"][row] and member < values["members"][row, group]
                assert found[row, group, member] == (not active)


def test_an_empty_slot_beyond_the_count_is_no_missing_label() -> None:
    made, node = graph(), graph().variables["digit"]
    values = {
        "count": np.array([0, 1, 1, 2, -1]),
        "digit": np.array([[0, -1, -1], [1, 1, -1], [-1, 2, -1], [-1] * 3, [-1] * 3]),
    }
    assert complete(made, node, values).tolist() == [True, True, False, False, False]
    assert there(made, node, values).tolist() == [True, True, True, False, False]
    none = graph(SCENES.replace("values: [1, 2, 3]", "categories: 4"))
    assert there(none, none.variables["digit"], {"count": np.array([0]), "digit": np.array([[-1] * 3])}).tolist() == [True]


# Labels


def test_a_draw_reveals_all_slots_of_a_row(scenes: Path) -> None:
    table = rows()
    dataset = load(scenes, table)
    assert dataset.budget() == [f"20 of 48 rows reveal {name}" for name in ("count", "digit", "place")]
    train = np.sort(np.random.default_rng(0).permutation(60)[12:])
    shown = np.isin(np.arange(48), dataset.labelled)
    assert_array_equal(dataset.train["count"], np.where(shown, table["count"][train] - 1, -1))
    assert_array_equal(dataset.train["digit"], np.where(shown[:, None], table["digit"][train], -1))
    places = table["place"][train].astype(np.float32)
    assert_array_equal(dataset.train["place"], np.where(shown[:, None, None], places, np.nan))


def test_labels_of_all_slots_that_there_are_need_a_draw_and_others_do_not(scenes: Path) -> None:
    """What nobody draws is revealed wherever it is there, if some of it is missing: a slot beyond the count is not."""
    table = rows()
    labels = 'data.labels=[{"variables": ["count"], "fraction": 1.0}]'
    assert load(scenes, table, labels).revealed == {"count": 48, "digit": 0, "place": 0}
    first = np.flatnonzero(table["count"] == 3)[:4]
    table["digit"][first, 1] = -1
    found = load(scenes, table, labels)
    assert found.revealed == {"count": 48, "digit": 48, "place": 0}
    train = np.sort(np.random.default_rng(0).permutation(60)[12:])
    assert_array_equal(found.train["digit"], table["digit"][train])


def test_a_row_without_any_label_in_its_slots_is_not_drawn(scenes: Path) -> None:
    table = rows()
    table["digit"][5:] = -1
    message = refusal(scenes, table)
    assert "20 labelled rows are asked for, and there are" in message
    assert "that have them" in message


def test_validation_rows_that_lack_no_label(scenes: Path) -> None:
    line = load(scenes, rows(), "data.validation={rows: 10, labels: true}", "data.labels={count: {rows: 9}}").budget()[-1]
    assert line == "10 further rows, with all their labels, are set aside for validation"


@pytest.mark.parametrize(
    ("name", "slot", "count", "why"),
    [
        ("digit", 2, 2, "'digit' has a label in slot 2 of row 7, and 'count' is 2"),
        ("digit", 0, -1, "'digit' has a label in slot 0 of row 7, and 'count' has none"),
        ("place", 1, 1, "'place' has a label in slot 1 of row 7, and 'count' is 1"),
    ],
)
def test_a_label_beyond_its_count_is_an_error_with_its_row(scenes: Path, name: str, slot: int, count: int, why: str) -> None:
    table = rows()
    for own, missing in (("digit", -1), ("place", np.nan)):
        table[own][7] = missing
    table["count"][7] = count
    table[name][7, slot] = 1
    message = refusal(scenes, table)
    assert why in message
    assert "error[GV306]" in message
    assert "slots count from 0" in message


def test_a_row_that_reveals_labels_in_slots_reveals_their_count(scenes: Path) -> None:
    apart = 'data.labels=[{"variables": ["count"], "rows": 10}, {"variables": ["digit"], "rows": 10}]'
    message = refusal(scenes, rows(), apart)
    assert "is to reveal 'digit', and not 'count', which counts its slots" in message
    assert "{variables: [count, digit], ...}" in message
    train = np.sort(np.random.default_rng(0).permutation(60)[12:])
    checksums = {"count": 2245608546, "digit": 1114711671}  # CRC-32 of the names
    drawn = {name: set(np.random.default_rng([0, crc]).permutation(48)[:10].tolist()) for name, crc in checksums.items()}
    first = train[min(drawn["digit"] - drawn["count"])]
    assert f"row {first} is to reveal" in message
    everywhere = 'data.labels=[{"variables": ["count"], "fraction": 1.0}, {"variables": ["digit"], "rows": 10}]'
    assert load(scenes, rows(), everywhere).revealed == {"count": 48, "digit": 10, "place": 0}


SEEN = """
model: seen
plates: {slot: {size: 3, active: count}}
variables:
  count: {distribution: COUNT, role: ROLE}
  kind: {distribution: categorical, categories: 3, plate: slot, role: observed}
  size: {distribution: gamma, plate: slot, role: observed}
  mix: {distribution: dirichlet, size: 3, plate: slot, role: observed}
  part: {distribution: normal, size: 2, plate: slot, role: observed, missing: mask}
  z: {distribution: normal, size: 2}
p:
  kind: {parents: [z, slot], network: {hidden: [4]}}
  size: {parents: [z, slot], network: {hidden: [4]}}
  mix: {parents: [z, slot], network: {hidden: [4]}}
  part: {parents: [z, slot], network: {hidden: [4]}, parameters: {scale: learned}}
q:
  z: {parents: [kind, size, mix, part], network: {hidden: [4], pool: mean}}
data:
  source: npz
  columns: {count: count, kind: kind, size: size, mix: mix, part: part}
training: {epochs: 1}
"""


def seen() -> dict[str, np.ndarray]:
    """Rows of observed slots, with nothing in those that there are not."""
    draw = np.random.default_rng(1)
    count = draw.integers(0, 4, 40)
    empty = np.arange(3) >= count[:, None]
    return {
        "count": count,
        "kind": np.where(empty, -1, draw.integers(0, 3, (40, 3))),
        "size": np.where(empty, np.nan, draw.gamma(2.0, 2.0, (40, 3))),
        "mix": np.where(empty[..., None], np.nan, draw.dirichlet([1.0, 2.0, 3.0], (40, 3))),
        "part": np.where(empty[..., None], np.nan, draw.normal(size=(40, 3, 2))),
    }


@pytest.fixture
def seen_spec(tmp_path: Path) -> Path:
    (tmp_path / "seen.yaml").write_text(SEEN.replace("COUNT", "binomial, total_count: 3").replace("ROLE", "given"))
    return tmp_path / "seen.yaml"


def test_observed_slots_beyond_a_given_count_may_be_empty(seen_spec: Path) -> None:
    """What stands there comes to the model as some value of the support, or, of what may be missing, as missing."""
    table = seen()
    dataset = load(seen_spec, table, "data.split.test=0")
    empty = np.arange(3) >= table["count"][:, None]
    assert_array_equal(dataset.train["kind"], np.where(empty, 0, table["kind"]))
    assert_array_equal(dataset.train["size"][~empty], table["size"][~empty].astype(np.float32))
    assert (dataset.train["size"][empty] > 0).all()
    assert_allclose(dataset.train["mix"].sum(-1), 1, rtol=1e-5)
    assert_array_equal(dataset.train["part"].isnan().all(-1), empty)
    run = train(seen_spec, data=seen_spec.with_suffix(".npz"), run=seen_spec.parent / "run")
    assert all(np.isfinite(value) for value in run.metrics()[0].values())


def test_what_stands_beyond_a_count_need_not_lie_in_the_support(seen_spec: Path) -> None:
    table = seen()
    empty = np.arange(3) >= table["count"][:, None]
    plain = load(seen_spec, table)
    table["size"][empty] = -999
    table["kind"][empty] = 77
    other = load(seen_spec, table)
    assert torch.equal(other.train["size"], plain.train["size"])
    assert torch.equal(other.train["kind"], plain.train["kind"])


@pytest.mark.parametrize("name", ["kind", "size", "mix"])
def test_an_observed_slot_that_is_active_may_not_be_empty(seen_spec: Path, name: str) -> None:
    table = seen()
    row = int(np.flatnonzero(table["count"] == 2)[0])
    table[name][row, 1] = -1 if name == "kind" else np.nan
    assert f"'{name}' is missing in row {row}" in refusal(seen_spec, table)


def test_an_inferred_count_leaves_no_slot_empty(seen_spec: Path) -> None:
    """Where the count is to be inferred, every slot may be active."""
    text = SEEN.replace("COUNT", "categorical, values: [0, 1, 2, 3]").replace("ROLE", "supervised")
    text = text.replace("  z: {", "  other: {distribution: normal, role: observed}\n  z: {", 1).replace(
        "p:\n", "p:\n  other: [z]\n", 1
    )
    seen_spec.write_text(text.replace("q:\n", "q:\n  count: [other]\n").replace("part: part}", "part: part, other: count}"))
    table = seen()
    first = int(np.flatnonzero(table["count"] < 3)[0])
    assert f"'kind' is missing in row {first}" in refusal(seen_spec, table, 'data.labels={"count": {"rows": 5}}')


def test_all_slots_are_standardised_alike(scenes: Path) -> None:
    table = rows()
    dataset = load(scenes, table, "data.transforms={place: standardise}")
    train = np.sort(np.random.default_rng(0).permutation(60)[12:])
    shown = table["place"][train[list(dataset.labelled)]].reshape(-1, 2)
    standard = dataset.coding.standards["place"]
    assert_allclose(standard.mean, np.nanmean(shown, 0))
    assert_allclose(standard.deviation, np.nanstd(shown, 0))
    assert_allclose(dataset.in_units(dataset.test)["place"], table["place"][np.setdiff1d(np.arange(60), train)], rtol=1e-5)


# Tables


def test_a_vector_in_a_csv_file_has_a_column_for_each_value(tmp_path: Path) -> None:
    table = {"x": np.array([[1.5, np.nan], [2.0, 3.0]]), "name": np.array([["a", ""], ["b", "a"]]), "y": np.array([1, 2])}
    write_table(table, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == '"x_0","x_1","name_0","name_1","y"\n1.5,,"a",,1\n2,3,"b","a",2\n'
    wanted = {"x": Want(event=(2,)), "name": Want(named=True, event=(2,)), "y": Want(event=())}
    found = read_source("csv", tmp_path / "a.csv", wanted, None).columns
    assert_array_equal(found["x"], table["x"])
    assert found["name"].tolist() == [["a", ""], ["b", "a"]]
    assert found["y"].tolist() == [1, 2]
    words = read_source("csv", tmp_path / "a.csv", {"name": Want(event=(2,))}, None).columns["name"]
    assert words.tolist() == [["a", ""], ["b", "a"]], "which whoever binds it refuses, with its row"
    assert "x" not in read_source("csv", tmp_path / "a.csv", {"x": Want(event=(3,)), "y": Want(event=())}, None).columns


def test_a_parquet_file_has_lists_of_texts_and_of_categories(tmp_path: Path) -> None:
    table = {"name": np.array([["a", ""], ["b", "a"]]), "code": np.array([[0, -1], [2, 1]])}
    write_table(table, tmp_path / "a.parquet")
    found = read_source("parquet", tmp_path / "a.parquet", None, None).columns
    assert found["name"].tolist() == [["a", ""], ["b", "a"]]
    assert_array_equal(found["code"], [[0, np.nan], [2, 1]])


def test_a_column_of_its_own_name_goes_before_numbered_ones(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,x_0,x_1\n1,2,3\n")
    found = read_source("csv", tmp_path / "a.csv", {"x": Want(event=(2,)), "x_0": Want(event=())}, None).columns
    assert {name: values.tolist() for name, values in found.items()} == {"x": [1], "x_0": [2]}


def test_names_of_columns_that_would_meet_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match="two columns would be called 'x_1'"):
        write_table({"x": np.zeros((2, 2)), "x_1": np.zeros(2)}, tmp_path / "a.csv")
    with pytest.raises(FlagError, match=r"'x' has the shape \[2, 2\]"):
        write_table({"x": np.zeros((2, 2, 2))}, tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize("source", ["npz", "parquet", "csv"])
def test_synthetic_rows_have_labels_where_they_may(scenes: Path, source: str) -> None:
    text = SCENES.replace("npz", source).replace("  labels: [{variables: [count, digit, place], rows: 20, seed: 0}]\n", "")
    text = text.replace("place: place", "place: [p0, p1, p2, p3, p4, p5]").replace("rows: 20", "rows: 5")
    scenes.write_text(text)
    path = scenes.with_suffix(f".{source}")
    columns = synthesise(scenes, path, 200)
    count, digit = columns["count"], columns["digit"]
    assert set(count.tolist()) == {-1, 1, 2, 3}
    assert digit.shape == (200, 3)
    assert not (digit >= 0)[np.arange(3) >= count[:, None]].any()
    shown = (digit >= 0).any(1)
    assert 0 < shown.sum() < (count > 0).sum(), "half of the rows have no label in their slots, and some no count"
    assert ((digit >= 0) == (np.arange(3) < count[:, None]))[shown].all()
    compilation = compile_file(scenes)
    dataset = load_data(compilation.graph, model_class(compilation).variables, path)
    test = np.sort(np.random.default_rng(0).permutation(200)[:40])
    assert_array_equal(dataset.test["digit"], digit[test])
    assert_array_equal(dataset.test["count"], np.where(count < 0, -1, count - 1)[test])
    run = train(scenes, data=path, run=scenes.parent / "run")
    assert all(np.isfinite(value) for value in run.metrics()[-1].values())


# What a model makes of it


@pytest.fixture
def trained(scenes: Path) -> Path:
    np.savez(scenes.with_suffix(".npz"), **rows())
    train(scenes, data=scenes.with_suffix(".npz"), run=scenes.parent / "run")
    return scenes.parent / "run"


def test_slots_are_filled_in_up_to_their_count(trained: Path) -> None:
    table = rows(12)
    table["count"][:6], table["digit"][:6], table["place"][:6] = -1, -1, np.nan
    table["digit"][6, 0] = -1
    np.savez(trained.parent / "holes.npz", **table)
    filled = impute(trained, trained.parent / "holes.npz", samples=10, draws=6)
    assert filled.table["count"].tolist()[6:] == table["count"].tolist()[6:]
    assert set(filled.table["count"].tolist()) <= {1, 2, 3}
    assert filled.categories["count"] == (1, 2, 3)
    for count, digit, place in [
        (filled.table["count"], filled.table["digit"], filled.table["place"]),
        *zip(filled.draws["count"], filled.draws["digit"], filled.draws["place"], strict=True),
    ]:
        active = np.arange(3) < count[:, None]
        assert_array_equal(digit >= 0, active)
        assert_array_equal(~np.isnan(place).any(-1), active)
    assert len({tuple(draw[:6]) for draw in filled.draws["count"].tolist()}) > 1
    known = table["digit"] >= 0
    assert_array_equal(filled.table["digit"][known], table["digit"][known])
    assert_allclose(np.nansum(filled.means["digit"], -1), np.arange(3) < filled.table["count"][:, None], rtol=1e-5)
    filled.save(trained.parent / "filled.npz")
    with np.load(trained.parent / "filled.npz") as file:
        assert file["digit.draws"].shape == (6, 12, 3)
        assert file["count.names"].tolist() == [1, 2, 3]
    write_table({**filled.table, "canvas": table["canvas"]}, trained.parent / "filled.parquet")
    again = impute(trained, trained.parent / "filled.parquet", samples=2, draws=1)
    for name in ("count", "digit", "place"):
        assert_array_equal(again.table[name], filled.table[name])


def test_evaluation_scores_the_labels_in_slots_and_the_count(trained: Path) -> None:
    found = evaluate(trained, samples=5)
    assert {name: score["q"].kind for name, score in found.predictions.items()} == {
        "count": "error",
        "digit": "error",
        "place": "rmse",
    }
    assert json.loads((trained / "evaluation.json").read_text())["rows"] == 12


def test_the_score_of_slots_counts_those_with_labels(scenes: Path) -> None:
    """Told by going through all slots; the error bar is that of a ratio of sums over rows."""
    model, table = new_model(compile_file(scenes)), rows(50)
    draw = np.random.default_rng(5)
    guess, places = draw.integers(0, 4, (50, 3)), draw.normal(size=(50, 3, 2))
    table["digit"][:5] = -1
    predicted = {
        "count": torch.eye(3)[torch.from_numpy(table["count"] - 1)],
        "digit": torch.eye(4)[torch.from_numpy(guess)],
        "place": torch.from_numpy(places),
    }
    truth = {name: torch.from_numpy(values) for name, values in table.items()} | {"count": torch.from_numpy(table["count"] - 1)}
    found = errors(model, predicted, truth)
    assert (found["count"].value, found["count"].standard_error) == (0, 0)
    wrong, labelled, squares = np.zeros(50), np.zeros(50), []
    for row in range(50):
        for slot in range(3):
            if table["digit"][row, slot] >= 0:
                labelled[row] += 1
                wrong[row] += guess[row, slot] != table["digit"][row, slot]
            if not np.isnan(table["place"][row, slot, 0]):
                squares.append(((places[row, slot] - table["place"][row, slot]) ** 2).mean())
    share = wrong.sum() / labelled.sum()
    assert found["digit"].value == pytest.approx(share, rel=1e-12)
    assert found["digit"].standard_error == pytest.approx(np.sqrt(((wrong - share * labelled) ** 2).sum()) / labelled.sum())
    assert found["place"].value == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-6)


def test_a_count_that_is_a_number_is_right_or_wrong(scenes: Path) -> None:
    scenes.write_text(SCENES.replace("categorical, values: [1, 2, 3]", "binomial, total_count: 3"))
    model = new_model(compile_file(scenes))
    table = {name: torch.from_numpy(values) for name, values in rows(4).items() if name != "canvas"}
    truth = table | {"count": torch.tensor([2.0, 1.0, torch.nan, 3.0])}
    predicted = {"count": torch.tensor([1.6, 2.4, 1.0, 2.9]), "digit": torch.zeros(4, 3, 4), "place": torch.zeros(4, 3, 2)}
    found = errors(model, predicted, truth)["count"]
    assert (found.kind, found.value) == ("error", pytest.approx(1 / 3))


SHARED = Path(os.environ.get("GRAPHVAE_DATA", Path(__file__).parents[2] / "shared" / "data" / "mnist"))


@pytest.mark.skipif(not SHARED.is_dir(), reason="MNIST is downloaded only by people who train on it")
def test_scenes_of_mnist_are_named_from_left_to_right(scenes: Path) -> None:
    text = SCENES.replace("size: 2, plate", "size: 3, plate").replace("categories: 4", "categories: 10")
    text = text.replace("source: npz", "source: multi_mnist").replace("canvas: canvas", "canvas: image")
    text = text.replace("size: 5, role", "shape: [1, 50, 50], role").replace("as_stored", "left_to_right")
    scenes.write_text(text)
    compilation = compile_file(scenes)
    dataset = load_data(compilation.graph, model_class(compilation).variables, SHARED)
    assert dataset.budget()[1] == "20 of 12,000 rows reveal digit"
    assert dataset.train["canvas"].shape == (12_000, 1, 50, 50)
    count, digit, place = (dataset.test[name] for name in ("count", "digit", "place"))
    active = torch.arange(3) <= count[:, None]
    assert torch.equal(digit >= 0, active)
    assert torch.equal(~place.isnan().any(-1), active)
    assert (place[..., 1] / place[..., 0]).nan_to_num(-9).diff(dim=1)[active[:, 1:]].max() <= 1e-6, "shifts fall to the right"
