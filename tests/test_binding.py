"""Columns become variables: names become integers, words switches, texts numbers, each in the shape that the spec gives it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from graphvae.compiler.errors import DataError
from graphvae.compiler.graph import ModelGraph
from graphvae.compiler.resolve import resolve
from graphvae.compiler.source import read_text
from graphvae.compiler.spec import parse
from graphvae.lab.binding import Bound, bind, named, split_columns, unbound, wanted
from graphvae.lab.sources import Rows, Want


def graph(variable: str, data: str = "", columns: str = "c") -> ModelGraph:
    """A model with one observed variable `x`, and a latent one."""
    text = f"""
model: m
variables: {{x: {{{variable}, role: observed}}, z: {{distribution: normal, size: 2}}}}
p: {{x: [z]}}
q: {{z: [x]}}
data: {{source: npz, columns: {{x: {columns}}}{data}}}
"""
    return resolve(parse(read_text(text, "m.yaml")))


def bound(
    variable: str, *columns: object, data: str = "", names: str = "c", known: Mapping[str, tuple[str, ...]] | None = None
) -> Bound:
    arrays = {f"c{index}" if len(columns) > 1 else "c": np.asarray(column) for index, column in enumerate(columns)}
    listed = f"[{', '.join(arrays)}]" if len(columns) > 1 else names
    return bind(graph(variable, data, listed), Rows(arrays, tuple(arrays)), known)


def refusal(variable: str, *columns: object, **options: object) -> str:
    with pytest.raises(DataError) as error:
        bound(variable, *columns, **options)  # type: ignore[arg-type]
    return str(error.value)


THREE = "distribution: categorical, categories: 3"


def texts(*cells: str) -> np.ndarray:
    return np.array(cells, dtype=object)


def test_names_are_sorted_and_recorded() -> None:
    found = bound(THREE, texts("pear", "", "apple", "fig", "pear"))
    assert found.values["x"].tolist() == [2, -1, 0, 1, 2]
    assert found.categories == {"x": ("apple", "fig", "pear")}


def test_names_may_be_given_their_order() -> None:
    found = bound(THREE, texts("pear", "", "apple"), data=", categories: {x: [pear, fig, apple]}")
    assert found.values["x"].tolist() == [0, -1, 2]
    assert found.categories == {"x": ("pear", "fig", "apple")}


def test_names_that_a_run_has_recorded_hold() -> None:
    known = {"x": ("pear", "fig", "apple")}
    assert bound(THREE, texts("apple", "pear"), known=known).values["x"].tolist() == [2, 0]
    message = refusal(THREE, texts("apple", "pera"), known=known)
    assert "'x' is 'pera' in row 1, which is none of its categories" in message
    assert "did you mean 'pear'?" in message


def test_whole_numbers_are_categories_from_0_however_they_are_written() -> None:
    for column in (
        np.array([0, 2, -1, 1]),
        np.array([0.0, 2.0, np.nan, 1.0]),
        texts("0", "2", "", "1"),
        texts("0.0", "2.0", "", "01"),
        np.array([0, 2, -1, 1], np.int8),
    ):
        found = bound(THREE, column)
        assert found.values["x"].tolist() == [0, 2, -1, 1]
        assert found.values["x"].dtype == np.int64
        assert found.categories == {}


def test_whole_numbers_may_be_names() -> None:
    for column in (np.array([3, 1, 2]), np.array([3.0, 1.0, 2.0]), texts("3", "1", "2"), texts("3.0", "1", "2")):
        found = bound(THREE, column, data=", categories: {x: [1, 2, 3]}")
        assert found.values["x"].tolist() == [2, 0, 1]
    assert bound(THREE, texts("03", "3", ""), data=", categories: {x: ['03', '3', x]}").values["x"].tolist() == [0, 1, -1]


def test_minus_one_is_missing_in_an_array_of_integers_alone() -> None:
    found = bound(THREE, texts("-1", "1", "", "0"))
    assert found.values["x"].tolist() == [0, 2, -1, 1]
    assert found.categories == {"x": ("-1", "0", "1")}
    assert "'x' is categorical, and is -1 in row 1" in refusal(THREE, np.array([0.0, -1.0]))
    assert "'x' is categorical, and is -2 in row 1" in refusal(THREE, np.array([0, -2]))
    for column in (np.array([-1, 0, 1]), np.array([-1.0, 0.0, 1.0]), texts("-1", "0", "1.0")):
        assert bound(THREE, column, data=", categories: {x: [-1, 0, 1]}").values["x"].tolist() == [0, 1, 2]


def test_switches_may_be_categories() -> None:
    two = "distribution: categorical, categories: 2"
    assert bound(two, np.array([True, False])).values["x"].tolist() == [1, 0]
    assert bound(two, np.array([True, False]), data=", categories: {x: [true, false]}").values["x"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("column", "data", "message"),
    [
        (texts("a", "b"), "", "'x' has 2 names in the data, and 3 categories in the spec"),
        (texts("a", "b", "c", "d"), "", "write categories: 4"),
        (texts("a", "b", "c"), ", categories: {x: [a, b, d]}", "'x' is 'c' in row 2, which is none of its categories"),
        (np.array([1, 5, 2]), ", categories: {x: [1, 2, 3]}", "'x' is '5' in row 1"),
        (np.array([0, 0.5, 1]), "", "'x' is categorical, and is 0.5 in row 1"),
        (np.array([0, 1e300]), "", "'x' is categorical, and is 1e+300 in row 1"),
        (np.array([1j, 2]), "", "'x' is categorical, and the column 'c' holds complex128"),
    ],
)
def test_categories_that_do_not_fit_are_refused(column: np.ndarray, data: str, message: str) -> None:
    assert message in refusal(THREE, column, data=data)


def test_a_run_on_numbers_refuses_names() -> None:
    message = refusal(THREE, texts("0", "a", "b", "c"), known={})
    assert "'x' is 'a' in row 1" in message
    assert "the run was trained on whole numbers" in message


def test_a_vector_of_categories_shares_its_names() -> None:
    found = bound("distribution: categorical, categories: 3, size: 2", texts("b", "a"), texts("c", ""))
    assert found.values["x"].tolist() == [[1, 2], [0, -1]]
    assert found.categories == {"x": ("a", "b", "c")}
    message = refusal(
        "distribution: categorical, categories: 2, size: 2", np.array([0, 1]), texts("a", "z"), known={"x": ("0", "1")}
    )
    assert "'x' is 'a' in row 0" in message


def test_words_are_switches() -> None:
    found = bound("distribution: bernoulli", texts("yes", "No", "TRUE", "false", "1", "0", ""))
    np.testing.assert_array_equal(found.values["x"], [1, 0, 1, 0, 1, 0, np.nan])
    np.testing.assert_array_equal(bound("distribution: bernoulli", np.array([True, False])).values["x"], [1, 0])
    np.testing.assert_array_equal(bound("distribution: bernoulli", np.array([1, 0, -1])).values["x"], [1, 0, np.nan])
    assert "column 'c' is 'maybe' in row 1" in refusal("distribution: bernoulli", texts("yes", "maybe"))


def test_texts_are_numbers_or_refused() -> None:
    found = bound("distribution: normal", texts("1", "", "-2.5e3"))
    np.testing.assert_array_equal(found.values["x"], [1, np.nan, -2500])
    for word in ("yes", "1_000", "1,5", "NA", "0x10"):
        assert f"'x' should be numbers, and column 'c' is '{word}' in row 2" in refusal(
            "distribution: normal", texts("1", "2", word)
        )


def test_whole_numbers_keep_their_digits() -> None:
    large = 2**24 + 1  # the first whole number that single precision does not have
    assert bound("distribution: normal", np.array([large, -1])).values["x"].tolist() == [large, -1]
    assert bound("distribution: normal", np.array([200, 3], np.uint8)).values["x"].dtype == np.float32


def test_columns_of_numbers_make_a_vector_in_their_order() -> None:
    found = bound("distribution: normal, size: 3", [1, 2], texts("3", ""), np.array([[5.0], [6.0]]))
    np.testing.assert_array_equal(found.values["x"], [[1, 3, 5], [2, np.nan, 6]])
    square = bound("distribution: normal, shape: [2, 2]", [1], [2], [3], [4])
    assert square.values["x"].tolist() == [[[1, 2], [3, 4]]]
    message = refusal("distribution: normal, size: 2", [1, 2], np.ones((2, 2)))
    assert "'x' has the shape [], and the column 'c1' the shape [2]" in message
    assert message.startswith("m.yaml:6:39:")


@pytest.mark.parametrize(
    ("own", "shape", "fits"),
    [
        ((3, 4), [1, 3, 4], True),
        ((12,), [1, 3, 4], True),
        ((3, 4), [12], True),
        ((1, 3, 4, 1), [3, 4], True),
        ((3, 4), [4, 3], False),
        ((3, 4), [2, 6], False),
        ((4, 5, 2), [2, 4, 5], False),
        ((4, 5), [4, 4], False),
    ],
)
def test_shapes_that_say_the_same_fit(own: tuple[int, ...], shape: list[int], fits: bool) -> None:
    values = np.arange(2.0 * np.prod(own)).reshape(2, *own)
    if fits:
        found = bound(f"distribution: normal, shape: {shape}", values).values["x"]
        assert found.shape == (2, *shape)
        np.testing.assert_array_equal(found.ravel(), values.ravel())
    else:
        assert "and the column 'c' the shape" in refusal(f"distribution: normal, shape: {shape}", values)


def test_colours_that_come_last_go_first() -> None:
    values = np.arange(2 * 4 * 5 * 3.0).reshape(2, 4, 5, 3)
    found = bound("distribution: normal, shape: [3, 4, 5]", values).values["x"]
    for channel in range(3):
        np.testing.assert_array_equal(found[:, channel], values[..., channel])


def test_absent_columns_are_named_with_what_was_meant() -> None:
    found = graph("distribution: normal", columns="prise")
    with pytest.raises(DataError, match=r"(?s)npz has no column 'prise'.*did you mean 'price'\?"):
        bind(found, Rows({}, ("price", "size")))


def test_what_a_spec_wants_of_its_columns() -> None:
    assert wanted(graph(THREE)) == {"c": Want(named=True, event=())}
    assert wanted(graph("distribution: normal, size: 2", columns="[a, b]")) == {"a": Want(event=()), "b": Want(event=())}
    by = wanted(graph("distribution: normal", ", split: {by: person}"))
    assert by == {"c": Want(event=()), "person": Want(named=True)}
    spec = graph("distribution: normal", ", split: {within: x}").spec
    assert spec.data
    assert split_columns(spec.data) == ["c"]


def test_columns_are_made_of_variables_again() -> None:
    found = graph("distribution: normal, shape: [2, 2]", columns="[a, b, c, d]")
    assert found.spec.data
    values = np.arange(24.0).reshape(2, 3, 2, 2)
    made = unbound(found, found.variables["x"], values, leading=2)
    np.testing.assert_array_equal(np.stack(list(made.values()), -1).reshape(values.shape), values)
    assert list(made) == ["a", "b", "c", "d"]
    assert named(np.array([[1, 0]]), ("a", "b")).tolist() == [["b", "a"]]
    assert named(np.array([1]), None).tolist() == [1]
