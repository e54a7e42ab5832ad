"""The label budget: who is drawn, and that everyone else's label is gone."""

import numpy as np
import pytest

from graphvae.compiler.errors import DataError
from graphvae.compiler.spec import LabelDraw
from graphvae.lab.labels import draw_labels, take_away

DIGITS = np.random.default_rng(0).integers(0, 10, 500)
ANGLES = np.random.default_rng(1).normal(size=500)
VALUES = {"digit": DIGITS, "angle": ANGLES}


EVERYWHERE = {"digit": np.ones(500, dtype=bool), "angle": np.ones(500, dtype=bool)}


def masks(*draws: LabelDraw) -> dict[str, np.ndarray]:
    return draw_labels(draws, VALUES, EVERYWHERE, ["digit"])


def draw(variables: tuple[str, ...] = ("digit",), **options: object) -> LabelDraw:
    return LabelDraw(variables=variables, **options)


def test_rows_are_counted_exactly() -> None:
    assert masks(draw(rows=100))["digit"].sum() == 100
    assert masks(draw(rows=0))["digit"].sum() == 0
    assert masks(draw(fraction=0.5))["digit"].sum() == 250
    assert masks(draw(fraction=1.0))["digit"].all()


def test_a_balanced_draw_has_equally_many_of_each() -> None:
    chosen = masks(draw(rows=100, balanced=True))["digit"]
    assert np.bincount(DIGITS[chosen]).tolist() == [10] * 10
    counts = np.bincount(DIGITS[masks(draw(rows=57, balanced=True))["digit"]], minlength=10)
    assert counts.sum() == 57
    assert set(counts) <= {5, 6}


def test_rows_per_counts_rows_for_each_value() -> None:
    chosen = masks(draw(("digit", "angle"), rows_per={"digit": 6}))
    assert np.bincount(DIGITS[chosen["digit"]]).tolist() == [6] * 10
    assert (chosen["digit"] == chosen["angle"]).all()


def test_the_seed_decides_and_draws_of_different_variables_differ() -> None:
    first, again, other = draw(rows=50), draw(rows=50), draw(rows=50, seed=1)
    assert (masks(first)["digit"] == masks(again)["digit"]).all()
    assert (masks(first)["digit"] != masks(other)["digit"]).any()
    both = masks(draw(rows=50), draw(("angle",), rows=50))
    assert (both["digit"] != both["angle"]).any()


def test_draws_add_up() -> None:
    both = masks(draw(rows=50), draw(("digit", "angle"), rows=20, seed=3))
    assert both["angle"].sum() == 20
    assert (both["digit"] | ~both["angle"]).all()
    assert 50 <= both["digit"].sum() <= 70


@pytest.mark.parametrize("asked", [draw(rows=501), draw(rows=490, balanced=True), draw(("digit",), rows_per={"digit": 200})])
def test_more_rows_than_there_are_is_an_error(asked: LabelDraw) -> None:
    with pytest.raises(DataError, match="are asked for, and there are"):
        masks(asked)


MISSING = {"digit": np.where(np.arange(500) % 4 == 0, -1, DIGITS), "angle": np.where(np.arange(500) % 3 == 0, np.nan, ANGLES)}


def holes(*draws: LabelDraw) -> dict[str, np.ndarray]:
    there = {"digit": np.arange(500) % 4 != 0, "angle": np.arange(500) % 3 != 0}
    return draw_labels(draws, MISSING, there, ["digit"], ["digit", "angle"])


def test_a_draw_chooses_among_rows_that_have_the_value() -> None:
    assert not holes(draw(rows=300))["digit"][::4].any()
    assert holes(draw(rows=375))["digit"].sum() == 375
    assert holes(draw(fraction=0.2))["digit"].sum() == 75
    counts = np.bincount(MISSING["digit"][holes(draw(rows=100, balanced=True))["digit"]], minlength=10)
    assert counts.tolist() == [10] * 10
    both = holes(draw(("digit", "angle"), fraction=1.0))
    whole = (np.arange(500) % 4 != 0) & (np.arange(500) % 3 != 0)
    assert (both["digit"] == whole).all()
    assert (both["angle"] == whole).all()
    with pytest.raises(DataError, match="376 labelled rows are asked for, and there are 375 that have them"):
        holes(draw(rows=376))


def test_what_no_draw_names_is_revealed_where_it_is_there() -> None:
    found = holes(draw(rows=10))
    assert (found["angle"] == (np.arange(500) % 3 != 0)).all()
    assert found["digit"].sum() == 10
    assert "angle" not in masks(draw(rows=10)), "a column without holes is revealed by draws alone"


def test_switches_and_vectors_of_one_number_are_balanced_too() -> None:
    values = {"switch": (np.arange(100) % 5 == 0).astype(np.float32)[:, None], "size": np.arange(100.0)}
    there = dict.fromkeys(values, np.ones(100, dtype=bool))
    chosen = draw_labels([draw(("size", "switch"), rows=20, balanced=True)], values, there, ["switch"])["switch"]
    assert (values["switch"][chosen, 0] == 1).sum() == 10
    assert chosen.sum() == 20


def test_a_class_with_too_few_rows_is_called_by_its_name() -> None:
    names = [f"number {digit}" for digit in range(10)]
    with pytest.raises(DataError, match=r"200 labelled rows of 'number 0' are asked for"):
        draw_labels([draw(rows_per={"digit": 200})], VALUES, EVERYWHERE, ["digit"], names={"digit": names})
    with pytest.raises(DataError, match=r"200 labelled rows of value 0 are asked for"):
        masks(draw(rows_per={"digit": 200}))


@pytest.mark.parametrize("values", [DIGITS, ANGLES])
def test_labels_outside_the_mask_are_physically_absent(values: np.ndarray) -> None:
    mask = np.zeros(500, dtype=bool)
    mask[::7] = True
    shown = take_away(values, mask)
    assert (shown[mask] == values[mask]).all()
    assert (shown[~mask] == -1).all() if values is DIGITS else np.isnan(shown[~mask]).all()
    assert not np.shares_memory(shown, values)
    nothing = take_away(values, None)
    assert (nothing == -1).all() if values is DIGITS else np.isnan(nothing).all()
