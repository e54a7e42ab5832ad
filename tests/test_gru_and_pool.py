"""The recurrent unit against torch's, and the pool against loops over slots."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from graphvae.runtime import Gru, Mlp, Pool

pytestmark = pytest.mark.usefixtures("float64")


def like_torch(network: Gru, size: int) -> nn.GRUCell:
    """torch's cell with the weights of ours, of the parents one after the other."""
    weights = [getattr(network.inputs, name) for name, _ in network.inputs.parents.values()]
    cell = nn.GRUCell(sum(weight.shape[1] for weight in weights), size)
    cell.load_state_dict(
        {
            "weight_ih": torch.cat(weights, 1),
            "bias_ih": network.inputs.bias,
            "weight_hh": network.recurrent.weight,
            "bias_hh": network.recurrent.bias,
        }
    )
    return cell


def test_gru_is_the_cell_of_torch() -> None:
    network = Gru({"image": (2, 3), "before": (4,), "mood": ()}, state="before", size=4)
    image, before, mood = torch.randn(7, 2, 3), torch.randn(7, 4), torch.randn(7)
    expected = like_torch(network, 4)(torch.cat([image.flatten(1), mood.unsqueeze(1)], 1), before)
    torch.testing.assert_close(network(image=image, before=before, mood=mood), expected)


def test_gru_takes_parents_with_the_axes_that_they_have() -> None:
    """A state without rows, as in the first slot, and one with more axes than the others."""
    network = Gru({"x": (2,), "before": (3,)}, state="before", size=3)
    cell, x = like_torch(network, 3), torch.randn(5, 2)
    for shape in ((3,), (6, 1, 5, 3), (6, 4, 1, 3)):
        before = torch.randn(shape)
        wide = torch.broadcast_shapes(shape[:-1], (5,))
        expected = cell(x.expand(*wide, 2).reshape(-1, 2), before.expand(*wide, 3).reshape(-1, 3)).reshape(*wide, 3)
        torch.testing.assert_close(network(x=x, before=before), expected)


def pooled(network: Pool, features: Tensor, weights: Tensor) -> Tensor:
    """The pool of one row's features [slot, feature] with its weights [slot], by loops."""
    there = [(feature, weight) for feature, weight in zip(features, weights.tolist(), strict=True) if weight > 0]
    if not there:
        return torch.zeros(features.shape[-1])
    if network.over == "max":
        return torch.stack([max(feature[place] for feature, _ in there) for place in range(features.shape[-1])])
    shares = [weight for _, weight in there]
    if network.over == "attention":
        length = len(network.query)
        shares = [weight * (feature @ network.query / math.sqrt(length)).exp() for feature, weight in there]
    total = sum(share * feature for share, (feature, _) in zip(shares, there, strict=True))
    return total if network.over == "sum" else total / sum(shares)


OVER = ["sum", "mean", "max", "attention"]


def pool(over: str, plates: tuple[int, ...] = (4,)) -> Pool:
    network = Pool({"place": (2,), "kind": ()}, hidden=[6, 5], over=over, plates=plates, activation="tanh")
    if over == "attention":
        nn.init.normal_(network.query)
    return network


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("filling", [0.0, torch.nan, torch.inf, 1e30])
def test_pool_is_a_loop_over_active_slots(over: str, filling: float) -> None:
    """Whatever the others hold; a relaxed count weighs them."""
    network = pool(over)
    active = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 0.6, 0.1, 0], [1, 1, 0, 0]])
    place, kind = torch.randn(3, 5, 4, 2), torch.randn(5, 4)
    mlp = Mlp({"place": (2,), "kind": ()}, hidden=[6, 5], heads={}, activation="tanh")
    mlp.load_state_dict(network.embedding.state_dict())
    features = mlp(place=place, kind=kind)
    expected = torch.stack([pooled(network, features[s, r], active[r]) for s, r in product(range(3), range(5))])
    there = active > 0
    place, kind = torch.where(there.unsqueeze(-1), place, filling), torch.where(there, kind, filling)
    found = network(place=place, kind=kind, active=active)
    torch.testing.assert_close(found, expected.reshape(3, 5, 5))
    slopes = torch.autograd.grad(found.square().sum(), list(network.parameters()))
    true = torch.autograd.grad(expected.square().sum(), [*mlp.parameters()], retain_graph=True)
    for slope, other in zip(slopes[-len(true) :], true, strict=True):
        torch.testing.assert_close(slope, other)


@pytest.mark.parametrize("over", OVER)
def test_pool_without_a_count(over: str) -> None:
    """All slots are active, also of a plate that no parent has."""
    network, place, kind = pool(over), torch.randn(3, 1, 2), torch.randn(3, 1)
    ones = torch.ones(4)
    features = network.embedding(place=place, kind=kind)[:, 0]
    expected = torch.stack([pooled(network, feature.expand(4, 5), ones) for feature in features])
    torch.testing.assert_close(network(place=place, kind=kind), expected)


@pytest.mark.parametrize("over", OVER)
def test_pool_over_two_plates(over: str) -> None:
    """Of which a count governs one; the parents lack one plate each, and all have a plate that stays."""
    network = pool(over, (3, 4))
    place, kind, active = torch.randn(2, 6, 3, 1, 2), torch.randn(2, 6, 1, 4), torch.randint(2, (2, 1, 1, 4)).double()
    found = network(place=place, kind=kind, active=active)
    features = network.embedding(place=place, kind=kind)
    for row, stays in product(range(2), range(6)):
        weights = active[row, 0].expand(3, 4).flatten()
        torch.testing.assert_close(found[row, stays], pooled(network, features[row, stays].flatten(0, 1), weights))


def test_pool_for_every_value_of_a_count() -> None:
    """Weights with an axis that the parents lack: what is the same for all counts is computed once."""
    network = pool("mean")
    place, kind = torch.randn(5, 4, 2, requires_grad=True), torch.randn(5, 4)
    active = (torch.arange(4) < torch.tensor([1, 2, 4]).reshape(3, 1, 1)).double()
    seen = []
    network.embedding.register_forward_hook(lambda module, given, made: seen.append(made.shape))
    found = network(place=place, kind=kind, active=active)
    assert seen == [(5, 4, 5)]
    features = network.embedding(place=place, kind=kind)
    expected = torch.stack([torch.stack([pooled(network, row, weights[0]) for row in features]) for weights in active])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("strength", [-5000.0, 5000.0])
def test_attention_never_looks_at_an_inactive_slot(strength: float) -> None:
    """However low the scores of the others are: padding changes neither value nor gradient."""
    found = []
    for size in (2, 5):
        torch.manual_seed(0)
        network = Pool({"part": (2,)}, hidden=[4], over="attention", plates=(size,), activation="softplus")
        nn.init.constant_(network.query, strength)
        part = torch.tensor([[0.3, -1.0], [1.2, 0.4]]).repeat(3, 1)[:size]
        made = network(part=part.unsqueeze(0), active=(torch.arange(size) < 2).double().unsqueeze(0))
        found.append((made, torch.autograd.grad(made.square().sum(), list(network.parameters()))))
    features = network.embedding(part=part[:2])
    scores = features @ network.query
    assert (scores * strength > 0).all()
    assert (scores[0] - scores[1]).abs() > 100
    torch.testing.assert_close(found[0][0][0], features[scores.argmax()])
    torch.testing.assert_close(*found)
