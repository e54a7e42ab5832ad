"""The order of rows: passes are complete, rates are kept, and nothing but the seed, the epoch and the step decides."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphvae.compiler.spec import Objective
from graphvae.lab.batches import Batch, Batches, supervision_rate

sizes = st.integers(0, 40)


def schedule(labelled: int, unlabelled: int, batch_size: int, rate: float, seed: int = 0) -> Batches:
    return Batches(tuple(range(labelled)), tuple(range(labelled, labelled + unlabelled)), batch_size, lambda step: rate, seed)


def rows(batches: list[Batch], kind: str) -> list[int]:
    return np.concatenate([getattr(batch, kind) for batch in batches]).tolist()


@given(sizes, st.integers(1, 60), st.integers(1, 16), st.sampled_from([0.1, 0.25, 0.5, 0.9]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_an_epoch_is_one_pass_over_the_unlabelled_rows(labelled: int, unlabelled: int, size: int, rate: float) -> None:
    made = schedule(labelled, unlabelled, size, rate if labelled else 0.0)
    batches = list(made.epoch(2))
    assert sorted(rows(batches, "unlabelled")) == list(range(labelled, labelled + unlabelled))
    assert [batch.step for batch in batches] == list(range(made.place(2).start, made.place(3).start))
    assert all(len(batch.labelled) + len(batch.unlabelled) for batch in batches) or unlabelled < made.place(2).steps


@given(st.integers(1, 30), st.integers(1, 60), st.sampled_from([0.1, 0.3, 0.5, 0.8]))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_labelled_rows_come_from_complete_passes_at_the_rate(labelled: int, unlabelled: int, rate: float) -> None:
    made = schedule(labelled, unlabelled, 8, rate)
    batches = [batch for epoch in range(5) for batch in made.epoch(epoch)]
    series = rows(batches, "labelled")
    assert abs(len(series) - 5 * unlabelled * rate / (1 - rate)) < 1 + 1e-6
    for start in range(0, len(series) - labelled, labelled):
        assert sorted(series[start : start + labelled]) == list(range(labelled))


def test_any_epoch_can_be_asked_for_alone() -> None:
    made, again = schedule(7, 50, 8, 0.5), schedule(7, 50, 8, 0.5)
    one = [[batch.labelled.tolist(), batch.unlabelled.tolist()] for batch in made.epoch(3)]
    list(again.epoch(0))
    assert one == [[batch.labelled.tolist(), batch.unlabelled.tolist()] for batch in again.epoch(3)]
    other = schedule(7, 50, 8, 0.5, seed=1)
    assert rows(list(other.epoch(3)), "unlabelled") != rows(list(made.epoch(3)), "unlabelled")


def test_the_share_of_labelled_rows_tends_to_the_rate() -> None:
    made = schedule(3, 9, 4, supervision_rate(Objective(gamma=4.0), 3, 9))
    batches = [batch for epoch in range(200) for batch in made.epoch(epoch)]
    count = len(rows(batches, "labelled"))
    assert count / (count + len(rows(batches, "unlabelled"))) == pytest.approx(4 / 7, abs=1e-3)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [({}, 0.25), ({"gamma": 1.0}, 0.25), ({"supervision_rate": 0.7}, 0.7), ({"supervision_rate": 0.0}, 0.0)],
)
def test_the_rate_is_the_natural_share_unless_it_is_said(objective: dict[str, float], expected: float) -> None:
    assert supervision_rate(Objective(**objective), labelled=3, unlabelled=9) == expected


def test_without_labels_or_without_other_rows_the_rate_follows() -> None:
    assert supervision_rate(Objective(supervision_rate=0.5), labelled=0, unlabelled=9) == 0
    assert supervision_rate(Objective(supervision_rate=0.5), labelled=9, unlabelled=0) == 1
    alone = schedule(20, 0, 8, 1.0)
    assert sorted(rows(list(alone.epoch(0)), "labelled")) == list(range(20))
    assert [len(batch.labelled) for batch in islice(alone.epoch(0), 3)] == [6, 7, 7]
