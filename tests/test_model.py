"""The base class of emitted models: data in, draws from p, predictions out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exact import Factors, factor, fill, set_linear, spec_model
from torch import Tensor

from graphvae.runtime import Block, Model
from graphvae.runtime.model import weighted_mean

pytestmark = pytest.mark.usefixtures("float64")

SPEC = """
model: several
variables:
  kind: {distribution: categorical, categories: 3, role: supervised}
  size: {distribution: normal, role: supervised}
  style: {distribution: normal, size: 2}
  dose: {distribution: normal, role: given}
  image: {distribution: bernoulli, shape: [1, 2, 2], role: observed}
  noise: {distribution: normal, shape: [1, 3], role: observed}
p:
  size: {parents: [kind, dose], network: {hidden: []}}
  image: {parents: [kind, size, style], network: {hidden: [5]}}
  noise: {parameters: {loc: 0.25, scale: 0.5}}
q:
  kind: [image, dose]
  size: {parents: [kind, image], network: {hidden: [4]}}
  style: {parameters: {loc: 0.5, scale: learned}}
"""
ROWS = 4
EVENTS = {"kind": (3,), "size": (), "style": (2,), "image": (1, 2, 2), "noise": (1, 3)}


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return spec_model(SPEC)


def data(rows: int = ROWS) -> dict[str, Tensor]:
    return {
        "kind": torch.arange(rows) % 4 - 1,
        "size": torch.linspace(-1, 1, rows).where(torch.arange(rows) != 1, torch.nan),
        "dose": torch.ones(rows),
        "image": torch.ones(rows, 1, 2, 2),
        "noise": torch.zeros(rows, 1, 3),
    }


@pytest.mark.parametrize("rows", [0, 1, ROWS])
@pytest.mark.parametrize("by", ["q", "importance"])
def test_predictions_have_the_shape_of_the_variable(model: Model, by: str, rows: int) -> None:
    """Also of one whose conditional has constant parameters, and depends on no row."""
    found = model.predict(data(rows), 5, by=by)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        n: (rows, *EVENTS[n]) for n in ("kind", "size", "style")
    }
    if by == "q":
        torch.testing.assert_close(found["style"], torch.full((rows, 2), 0.5))


@pytest.mark.parametrize("by", ["q", "importance"])
def test_predictions_where_q_does_not_depend_on_the_row(by: str) -> None:
    text = """
model: constant
variables:
  kind: {distribution: categorical, categories: 3, role: supervised}
  x: {distribution: normal, role: observed}
p: {x: [kind]}
q: {kind: []}
"""
    found = spec_model(text).predict({"x": torch.linspace(-1, 1, ROWS)}, by=by)
    assert found["kind"].shape == (ROWS, 3)
    nothing = spec_model("model: m\nvariables: {x: {distribution: normal, role: observed}}\np: {x: []}\nq: {}")
    assert nothing.predict({"x": torch.zeros(ROWS)}, by=by) == {}
    torch.testing.assert_close(nothing.log_evidence({"x": torch.zeros(ROWS)}).standard_error, torch.zeros(ROWS))


def test_a_draw_of_weight_zero_counts_nothing_in_a_mean() -> None:
    weight, value = torch.tensor([[0.0], [0.25], [0.75]]), torch.tensor([torch.inf, 4.0, 8.0]).reshape(3, 1)
    assert weighted_mean(weight, value, ()).tolist() == [7.0]
    assert weighted_mean(weight, value.reshape(3, 1, 1, 1), (1, 1)).tolist() == [[[7.0]]]


def test_what_is_known_is_its_own_prediction(model: Model) -> None:
    found = model.predict(data(), 5)
    torch.testing.assert_close(found["kind"][1:], torch.eye(3))
    torch.testing.assert_close(found["size"][[0, 2, 3]], data()["size"][[0, 2, 3]])


@pytest.mark.parametrize("rows", [1, ROWS])
@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("held", ["dose", "dose kind", "dose kind size style"])
def test_samples_have_the_shape_of_the_data(model: Model, rows: int, mean: bool, held: str) -> None:
    """However much is held, and where nothing that an observed variable depends on is drawn."""
    values = {
        "dose": torch.zeros(rows),
        "kind": torch.full((rows,), 2),
        "size": torch.ones(rows),
        "style": torch.zeros(rows, 2),
    }
    given = {name: values[name] for name in held.split()}
    found = model.sample(rows, given, torch.Generator().manual_seed(0), mean=mean)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        name: (rows,) if name == "kind" else (rows, *event) for name, event in EVENTS.items()
    }
    for name in given.keys() - {"dose"}:
        assert torch.equal(found[name], given[name])
    if mean:
        torch.testing.assert_close(found["noise"], torch.full((rows, 1, 3), 0.25))
        assert ((found["image"] > 0) & (found["image"] < 1)).all()
    else:
        assert ((found["image"] == 0) | (found["image"] == 1)).all()


def test_samples_held_in_some_rows(model: Model) -> None:
    found = model.sample(4, {"dose": torch.zeros(4), "kind": torch.tensor([2, -1, 0, -1])}, torch.Generator().manual_seed(0))
    assert found["kind"][[0, 2]].tolist() == [2, 0]
    assert found["kind"].shape == (4,)
    assert (found["kind"] >= 0).all()


def test_samples_follow_p() -> None:
    """Frequencies of a discrete p, and moments of a linear-Gaussian one, within 4 standard errors; a seed repeats them."""
    text = """
model: small
variables:
  y: {distribution: categorical, categories: 2, role: supervised}
  z: {distribution: normal}
  w: {distribution: categorical, categories: 3, role: observed}
  x: {distribution: normal, role: observed}
p: {y: [], w: {parents: [y], network: {hidden: []}}, x: {parents: [z], network: {hidden: []}, parameters: {scale: 0.5}}}
q: {y: [w], z: [x]}
"""
    p: Factors = {"y": factor("", [0.3, 0.7]), "w": factor("y", [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])}
    model, rows = fill(spec_model(text), p, {}), 40_000
    set_linear(model.decoder.x, loc={"z": 2.0, "bias": 1.0})
    found = model.sample(rows, generator=torch.Generator().manual_seed(1))
    joint = np.array([0.3, 0.7])[:, None] * p["w"].table
    counts = np.bincount(3 * found["y"] + found["w"], minlength=6) / rows
    assert (abs(counts - joint.ravel()) < 4 * np.sqrt(joint * (1 - joint)).ravel() / rows**0.5).all()
    deviation = 4.25**0.5
    assert abs(found["x"].mean().item() - 1.0) < 4 * deviation / rows**0.5
    assert abs(found["x"].var().item() - 4.25) < 4 * 4.25 * (2 / rows) ** 0.5
    again = model.sample(rows, generator=torch.Generator().manual_seed(1))
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_evidence_has_a_mask_only_where_it_must(model: Model) -> None:
    found = model.evidence(data())
    assert {name: evidence.known is None for name, evidence in found.items()} == {
        "kind": False,
        "size": False,
        "dose": True,
        "image": True,
        "noise": True,
    }
    assert found["kind"].known.tolist() == [False, True, True, True]
    whole = model.evidence({**data(), "kind": torch.zeros(ROWS, dtype=torch.long), "size": torch.full((ROWS,), torch.nan)})
    assert whole["kind"].known is None
    assert "size" not in whole


def test_data_that_cannot_be_evidence_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="'colour' is not a variable; the variables are: "):
        model.evidence({"colour": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"'image' has values of shape \[2, 2\]; the spec says \[1, 2, 2\]"):
        model.evidence({"image": torch.zeros(3, 2, 2)})
    image = torch.zeros(3, 1, 2, 2)
    image[2, 0, 1, 1] = torch.nan
    with pytest.raises(ValueError, match="'image' is observed and is missing in row 2"):
        model.evidence({"image": image})


def test_knobs_name_every_variable(model: Model) -> None:
    knobs = model.knobs(alpha={"kind": 3.0}, beta={"style": 0.5})
    assert {name: value.item() for name, value in knobs.alpha.items()} == {"kind": 3.0, "size": 0.0}
    assert {name: value.item() for name, value in knobs.beta.items()} == {"kind": 1.0, "size": 1.0, "style": 0.5}
    assert {value.item() for value in model.knobs(2.0).alpha.values()} == {2.0}


def test_noise_is_for_what_q_samples(model: Model) -> None:
    found = model.noise(3, ROWS, torch.Generator().manual_seed(0))
    assert {name: tuple(value.shape) for name, value in found.items()} == {"size": (3, ROWS), "style": (3, ROWS, 2)}
    again = model.noise(3, ROWS, torch.Generator().manual_seed(0))
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_parts_of_blocks_without_them_are_nan(model: Model) -> None:
    labelled = {name: value[2:] for name, value in data().items()}
    unlabelled = {name: value for name, value in data().items() if name not in ("kind", "size")}
    blocks = [model.block(labelled, 2, None), model.block(unlabelled, 2, None)]
    parts = model(blocks, model.knobs()).parts
    assert parts["label.kind"].isnan().tolist() == [False] * 2 + [True] * ROWS
    assert parts["reconstruction.image"].isfinite().all()
    assert not any(value.requires_grad for value in parts.values())


def test_a_failure_points_at_the_spec_and_names_the_shapes(model: Model) -> None:
    evidence = model.evidence({"image": torch.ones(2, 1, 2, 2), "noise": torch.zeros(2, 1, 3), "dose": torch.ones(2)})
    evidence["image"] = evidence["image"]._replace(value=torch.ones(2, 1, 2, 3))
    with pytest.raises(RuntimeError) as caught:
        model([Block(evidence, model.noise(1, 2))], model.knobs())
    note = "\n".join(caught.value.__notes__)
    assert "test.yaml:" in note
    assert "image [2, 1, 2, 3]" in note


def test_the_objective_averages_to_its_parts(model: Model) -> None:
    """With one sample, L = sum of reconstructions - sum of KLs + sum of (1 + alpha) labels, row by row."""
    found = model([model.block(data(), 1, torch.Generator().manual_seed(2))], model.knobs(alpha=0.5))
    total = sum(value.nan_to_num() for name, value in found.parts.items() if name.startswith("reconstruction"))
    total = total - sum(value for name, value in found.parts.items() if name.startswith("kl"))
    total = total + 1.5 * sum(value.nan_to_num() for name, value in found.parts.items() if name.startswith("label"))
    torch.testing.assert_close(found.bound, total, rtol=0, atol=1e-10)
