"""Networks: a linear map per parent is one of the concatenation, and no axis is needed that a parent does not have."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphvae.runtime.networks import ACTIVATIONS, BatchNormalisation, Mlp, ParentLinear

pytestmark = pytest.mark.usefixtures("float64")

PARENTS = {"image": (1, 3, 2), "digit": (4,), "dose": ()}
AXES = {"image": (5,), "digit": (4, 1, 1), "dose": (3, 5)}  # of an enumerated, a sampled and an observed parent
ALL = (4, 3, 5)


def values(axes: dict[str, tuple[int, ...]] = AXES, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*axes[name], *shape, generator=generator) for name, shape in PARENTS.items()}


def expanded(parents: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every parent repeated along every axis, by hand."""
    return {name: value.expand(*ALL, *PARENTS[name]) for name, value in parents.items()}


def concatenated(parents: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.reshape(*ALL, -1) for value in expanded(parents).values()], -1)


def test_the_first_layer_is_a_linear_map_of_the_concatenation() -> None:
    layer, parents = ParentLinear(PARENTS, 7), values()
    weight = torch.cat([layer.get_parameter(f"weight_{name}") for name in PARENTS], 1)
    expected = functional.linear(concatenated(parents), weight, layer.bias)
    torch.testing.assert_close(layer(parents), expected, rtol=0, atol=1e-12)
    assert sorted(name for name, _ in layer.named_parameters()) == ["bias", "weight_digit", "weight_dose", "weight_image"]


def test_its_gradients_are_those_of_the_concatenation() -> None:
    layer, parents = ParentLinear(PARENTS, 7), values()
    weight = torch.cat([layer.get_parameter(f"weight_{name}") for name in PARENTS], 1).detach().requires_grad_()
    expected = functional.linear(concatenated(parents), weight).square().sum()
    layer(parents).sub(layer.bias).square().sum().backward()
    found = torch.cat([layer.get_parameter(f"weight_{name}").grad for name in PARENTS], 1)
    torch.testing.assert_close(found, torch.autograd.grad(expected, weight)[0], rtol=1e-10, atol=1e-10)


def test_what_lacks_an_axis_is_computed_without_it() -> None:
    layer = ParentLinear(PARENTS, 7)
    assert layer({**values(), "digit": torch.ones(4), "dose": torch.ones(())}).shape == (5, 7)
    assert layer(values()).shape == (*ALL, 7)


def test_it_is_initialised_as_a_linear_map_of_the_total_fan_in() -> None:
    """Uniform up to 1 / sqrt(fan-in), as torch's: the largest of so many weights comes close to the bound."""
    torch.manual_seed(0)
    layer = ParentLinear({"image": (28, 28), "digit": (16,)}, 500)
    bound = 1 / math.sqrt(28 * 28 + 16)
    reference = nn.Linear(28 * 28 + 16, 500)
    for parameter in (*layer.parameters(), *reference.parameters()):
        assert 0.97 * bound < parameter.abs().max().item() <= bound
    standard_error = bound / (15 * 8000) ** 0.5  # of the root of a mean of squares, whose variance is 4 bound^4 / 45
    assert layer.get_parameter("weight_digit").std().item() == pytest.approx(bound / 3**0.5, abs=4 * standard_error)


@pytest.mark.parametrize("normalisation", ["none", "layer", "batch"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [[], [8], [8, 6, 5]])
def test_broadcasting_equals_expanding_by_hand(hidden: list[int], activation: str, normalisation: str) -> None:
    network = Mlp(PARENTS, hidden, {"loc": (2, 2), "scale": ()}, activation=activation, normalisation=normalisation).eval()
    loc, scale = network(**values())
    assert loc.shape == (*ALL, 2, 2)
    assert scale.shape == ALL
    for found, expected in zip((loc, scale), network(**expanded(values())), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_it_equals_the_layers_written_out() -> None:
    network, parents = Mlp(PARENTS, [8, 6], {"loc": (2, 2), "scale": ()}, activation="tanh", normalisation="layer"), values()
    weight = torch.cat([network.first.get_parameter(f"weight_{name}") for name in PARENTS], 1)
    normalise, _, linear, normalise_again, _, heads = network.body
    features = torch.tanh(normalise(functional.linear(concatenated(parents), weight, network.first.bias)))
    features = heads(torch.tanh(normalise_again(linear(features))))
    loc, scale = network(**parents)
    torch.testing.assert_close(loc, features[..., :4].reshape(*ALL, 2, 2), rtol=0, atol=1e-12)
    torch.testing.assert_close(scale, features[..., 4], rtol=0, atol=1e-12)


def test_one_head_comes_alone_and_no_head_is_the_last_hidden_layer() -> None:
    parents = values()
    assert Mlp(PARENTS, [8], {"logits": (3,)})(**parents).shape == (*ALL, 3)
    assert Mlp(PARENTS, [8], {"logits": ()})(**parents).shape == ALL
    trunk = Mlp(PARENTS, [8, 6], {})
    features = trunk(**parents)
    assert features.shape == (*ALL, 6)
    assert (features >= 0).all()  # behind its non-linearity
    assert [type(layer) for layer in trunk.body] == [nn.ReLU, nn.Linear, nn.ReLU]


def test_without_hidden_layers_it_is_linear() -> None:
    network = Mlp({"a": (2,), "b": ()}, [], {"loc": (), "scale": (2,)})
    assert not len(network.body)
    a, b = torch.randn(2, 6, 2), torch.randn(2, 6)
    (loc, scale), (zero, floor) = network(a=a[0], b=b[0]), network(a=0 * a[0], b=0 * b[0])
    both, other = network(a=a[0] + a[1], b=b[0] + b[1])[0], network(a=a[1], b=b[1])[0]
    torch.testing.assert_close(both - zero, (loc - zero) + (other - zero), rtol=0, atol=1e-12)
    assert scale.shape == floor.shape == (6, 2)


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("normalisation", ["none", "layer", "batch"])
@pytest.mark.parametrize("training", [True, False])
def test_empty_and_single_batches(rows: int, normalisation: str, training: bool) -> None:
    network = Mlp({"x": (2, 3), "z": ()}, [4, 4], {"loc": (2,), "scale": ()}, normalisation=normalisation, dropout=0.1)
    loc, scale = network.train(training)(x=torch.randn(rows, 2, 3), z=torch.randn(rows))
    assert loc.shape == (rows, 2)
    assert scale.shape == (rows,)
    loc, _ = network(x=torch.randn(rows, 2, 3), z=torch.randn(3, rows))
    assert loc.shape == (3, rows, 2)
    assert loc.isfinite().all()


def test_batch_normalisation_in_training_is_over_all_leading_axes() -> None:
    layer, features = BatchNormalisation(4), 3 * torch.randn(6, 5, 4) + 2
    normalised = layer(features)
    mean, variance = features.mean((0, 1)), features.var((0, 1), unbiased=False)
    torch.testing.assert_close(normalised, (features - mean) / (variance + layer.eps).sqrt(), rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.running_mean, 0.1 * mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.running_var, 0.9 + 0.1 * features.var((0, 1)), rtol=0, atol=1e-12)


def test_batch_normalisation_in_evaluation_is_by_the_running_statistics() -> None:
    layer = BatchNormalisation(4)
    for _ in range(20):
        layer(3 * torch.randn(50, 4) + 2)
    before = layer.running_mean.clone()
    features = torch.randn(6, 5, 4)
    found = layer.eval()(features)
    expected = (features - layer.running_mean) / (layer.running_var + layer.eps).sqrt()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer(features[:1, :1]), found[:1, :1], rtol=0, atol=1e-12)  # no row depends on another
    assert torch.equal(layer.running_mean, before)


def test_batch_normalisation_of_a_single_row_in_training_is_by_the_running_statistics() -> None:
    layer = BatchNormalisation(4)
    layer.weight.data.fill_(2.0)
    layer.bias.data.fill_(0.5)
    layer(3 * torch.randn(50, 4) + 2)
    mean, variance = layer.running_mean.clone(), layer.running_var.clone()
    row = torch.randn(1, 4)
    torch.testing.assert_close(layer(row), 2 * (row - mean) / (variance + layer.eps).sqrt() + 0.5, rtol=0, atol=1e-12)
    assert torch.equal(layer.running_mean, mean)


def test_dropout_is_in_training_alone() -> None:
    torch.manual_seed(0)
    network = Mlp({"x": (3,)}, [4000], {}, activation="softplus", dropout=0.25)
    x = torch.randn(1, 3)
    kept = network.eval()(x=x)
    assert torch.equal(kept, network(x=x))
    dropped = network.train()(x=x)
    share = (dropped == 0).double().mean().item()
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5
    torch.testing.assert_close(dropped[dropped != 0], kept[dropped != 0] / 0.75, rtol=0, atol=1e-12)
    assert not any(isinstance(layer, nn.Dropout) for layer in Mlp({"x": (3,)}, [4], {}).body)
