"""Transforms and their inverses, against scikit-learn and by hand; what is missing stays missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from graphvae.compiler.spec import Binarise, Rescale
from graphvae.lab.transforms import Coding, Standard, Steps, forward, inverse, rescales, switched
from graphvae.runtime import Block, Evidence

VALUES = np.random.default_rng(0).gamma(2.0, 50.0, (200, 3))
HOLES = np.where(np.random.default_rng(1).random((200, 3)) < 0.2, np.nan, VALUES)


def test_standardise_and_back() -> None:
    scaler = StandardScaler().fit(HOLES)
    standard = Standard(scaler.mean_, scaler.scale_)
    made = forward("x", ["standardise"], HOLES, standard)
    np.testing.assert_allclose(made, scaler.transform(HOLES), rtol=1e-12)
    np.testing.assert_allclose(inverse(["standardise"], made, standard), HOLES, rtol=1e-12)
    np.testing.assert_array_equal(forward("x", ["standardise"], HOLES), HOLES)


@pytest.mark.parametrize(("to", "expected"), [(None, [0, 0.5, 1, 2, np.nan]), ((-1, 1), [-1, 0, 1, 3, np.nan])])
def test_scale_and_back(to: tuple[float, float] | None, expected: list[float]) -> None:
    values = np.array([10.0, 15, 20, 30, np.nan])
    step = Rescale(scale=(10, 20), to=to)
    np.testing.assert_array_equal(forward("x", [step], values), expected)
    np.testing.assert_array_equal(inverse([step], np.array(expected)), values)


def test_bytes_end_exactly_at_one() -> None:
    for kind in (np.float32, np.float64):
        made = forward("x", [Rescale(scale=(0, 255))], np.array([0, 255], kind))
        assert made.tolist() == [0, 1]
        assert made.dtype == kind


def test_transforms_follow_each_other_and_are_undone_in_turn() -> None:
    steps: Steps = [Rescale(scale=(0, 100)), "standardise"]
    standard = Standard(np.array(0.5), np.array(0.25))
    made = forward("x", steps, np.array([50.0, 100.0]), standard)
    np.testing.assert_array_equal(made, [0, 2])
    np.testing.assert_array_equal(inverse(steps, made, standard), [50, 100])
    grey = np.array([0.0, 100, 128, 255, np.nan])
    np.testing.assert_array_equal(forward("x", [Rescale(scale=(0, 255)), "binarise"], grey), [0, 0, 1, 1, np.nan])


@pytest.mark.parametrize(
    ("step", "expected"),
    [("binarise", [0, 0, 1, np.nan]), (Rescale(binarise=Binarise(threshold=0.1)), [0, 1, 1, np.nan])],
)
def test_a_threshold(step: object, expected: list[float]) -> None:
    np.testing.assert_array_equal(forward("x", [step], np.array([0.1, 0.5, 0.6, np.nan])), expected)  # type: ignore[list-item]


@pytest.mark.parametrize("step", ["binarise_each_time", Rescale(binarise=Binarise(seed=0))])
def test_a_draw_has_the_probability_that_the_number_is(step: object) -> None:
    shares = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    values = np.tile(np.append(shares, np.nan), (20_000, 1))
    made = forward("x", [step], values)  # type: ignore[list-item]
    np.testing.assert_array_equal(made, forward("x", [step], values))  # type: ignore[list-item]
    assert np.isnan(made[:, -1]).all()
    assert set(np.unique(made[:, :-1])) == {0, 1}
    error = np.sqrt(shares * (1 - shares) / len(values))
    assert (np.abs(made[:, :-1].mean(0) - shares) <= 4 * error).all()


def test_draws_of_other_seeds_and_variables_differ() -> None:
    values = np.full(1000, 0.5)
    first, second = (Rescale(binarise=Binarise(seed=seed)) for seed in (0, 1))
    draws = [forward("x", [first], values), forward("x", [second], values), forward("y", [first], values)]
    for one in range(3):
        for other in range(one):
            assert abs((draws[one] == draws[other]).mean() - 0.5) < 4 * 0.5 / np.sqrt(1000)


def test_what_is_no_probability_is_left_to_be_refused() -> None:
    assert forward("x", ["binarise_each_time"], np.array([-3.0, 2.0])).tolist() == [-3, 2]


def test_which_transforms_change_the_unit() -> None:
    assert rescales(["standardise"])
    assert rescales([Rescale(scale=(0, 255)), "binarise"])
    assert not rescales(["binarise_each_time"])
    assert not rescales(())


def test_a_coding_is_kept_to_the_last_bit() -> None:
    standards = {"x": Standard(VALUES.mean(0), VALUES.std(0)), "y": Standard(np.array(1 / 3), np.array(1e-300))}
    again = Coding.of(json.loads(json.dumps(Coding({"kind": ("b", "ä")}, standards).as_json())))
    assert again.categories == {"kind": ("b", "ä")}
    for name, standard in standards.items():
        np.testing.assert_array_equal(again.standards[name].mean, standard.mean)
        np.testing.assert_array_equal(again.standards[name].deviation, standard.deviation)


def blocks(values: torch.Tensor, *counts: int) -> list[Block]:
    """Rows as blocks of so many."""
    return [Block({"x": Evidence(part), "other": Evidence(part + 10)}, {}) for part in values.split(list(counts))]


def test_fresh_switches_do_not_depend_on_the_blocks() -> None:
    values = torch.rand(30, 4, generator=torch.Generator().manual_seed(0))
    whole, parts = (
        torch.cat([block.evidence["x"].value for block in switched(rows, ["x"], torch.Generator().manual_seed(1))])
        for rows in (blocks(values, 30), blocks(values, 12, 18))
    )
    assert torch.equal(whole, parts)
    assert set(whole.unique().tolist()) == {0.0, 1.0}


def test_fresh_switches_follow_their_probabilities_and_leave_the_rest() -> None:
    shares = torch.tensor([0.0, 0.3, 1.0])
    before = blocks(shares.expand(20_000, 3), 20_000)
    [after] = switched(before, ["x"], torch.Generator().manual_seed(0))
    mean = after.evidence["x"].value.double().mean(0)
    assert (mean[0], mean[2]) == (0, 1)
    assert abs(mean[1].item() - 0.3) < 4 * (0.3 * 0.7 / 20_000) ** 0.5
    assert torch.equal(after.evidence["other"].value, before[0].evidence["other"].value)
    assert torch.equal(before[0].evidence["x"].value, shares.expand(20_000, 3)), "what was there is not changed"


def test_cells_that_are_missing_stay_so() -> None:
    cells = torch.tensor([[True, False]])
    block = Block({"x": Evidence(torch.tensor([[0.5, 0.0]]), cells=cells)}, {})
    [after] = switched([block], ["x"], torch.Generator().manual_seed(0))
    assert torch.equal(after.evidence["x"].cells, cells)
