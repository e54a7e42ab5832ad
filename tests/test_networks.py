"""Networks: a linear map per parent is one of the concatenation, and no axis is needed that a parent does not have.

Convolutions are compared with loops over their windows, and with torch's own on images written out one by one.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from models import SPECS, random_data
from torch import Tensor, nn
from torch.nn import functional

from graphvae.compiler.pipeline import compile_file, compile_text
from graphvae.compiler.standalone import standalone
from graphvae.runtime import load
from graphvae.runtime.networks import ACTIVATIONS, BatchNormalisation, Conv, Deconv, Mlp, ParentLinear, Residual, Stem

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


SEEN = {"photo": (2, 7, 5), "map": (1, 4, 4), "digit": (3,), "dose": ()}
SEEN_AXES = {"photo": (5,), "map": (2, 1), "digit": (3, 1, 1), "dose": (2, 5)}
SEEN_ALL = (3, 2, 5)
PICTURES = {"loc": (2, 9, 7), "scale": (1, 9, 7)}


def seen(axes: dict[str, tuple[int, ...]] = SEEN_AXES) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(*axes[name], *shape, generator=generator) for name, shape in SEEN.items()}


def seen_by(kind: str, **options: Any) -> nn.Module:
    """A network of each kind from the same parents to the same pictures."""
    torch.manual_seed(0)
    if kind == "conv":
        return Conv(SEEN, [3, 4], [6], PICTURES, **options)
    if kind == "deconv":
        return Deconv(SEEN, [6], [3, 4], PICTURES, **options)
    return Residual(SEEN, [6, 6, 6], PICTURES, **options)


def window_sums(image: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """A 3 by 3 convolution with zeros around the image, a pixel and a window at a time."""
    _, height, width = image.shape
    made = torch.zeros(len(weight), -(-height // stride), -(-width // stride))
    for plane, row, column in product(*map(range, made.shape)):
        total = bias[plane].item()
        for i, j in product((-1, 0, 1), repeat=2):
            y, x = stride * row + i, stride * column + j
            if 0 <= y < height and 0 <= x < width:
                total += float(weight[plane, :, i + 1, j + 1] @ image[:, y, x])
        made[plane, row, column] = total
    return made


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5), (1, 1), (2, 9)])
def test_a_stem_is_convolutions_of_stride_two(height: int, width: int) -> None:
    stem, image = Stem((2, height, width), [3, 4], "tanh", 0.0, "none"), torch.randn(2, height, width)
    first, second = stem.body[0], stem.body[2]
    with torch.no_grad():
        by_hand = torch.tanh(window_sums(image, first.weight, first.bias, 2))
        by_hand = torch.tanh(window_sums(by_hand, second.weight, second.bias, 2))
        by_torch = torch.tanh(functional.conv2d(image[None], first.weight, first.bias, stride=2, padding=1))
        by_torch = torch.tanh(functional.conv2d(by_torch, second.weight, second.bias, stride=2, padding=1))
        found = stem(image.expand(4, 1, 2, height, width))
    assert found.shape == (4, 1, stem.features)
    for value in found.flatten(0, 1):
        torch.testing.assert_close(value, by_hand.flatten(), rtol=0, atol=1e-12)
        torch.testing.assert_close(value, by_torch.flatten(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalisation", ["none", "layer", "batch"])
def test_a_conv_network_is_its_stems_and_a_perceptron(normalisation: str) -> None:
    network, parents = seen_by("conv", normalisation=normalisation, activation="softplus").eval(), seen()
    randomise(network)
    with torch.no_grad():
        shown = parents | {name: written_out(network.get_submodule(f"stem_{name}"), parents[name]) for name in ("photo", "map")}
        for found, expected in zip(network(**parents), network.dense(**shown), strict=True):
            assert found.shape[:3] == SEEN_ALL
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def written_out(stem: nn.Module, images: Tensor) -> Tensor:
    """Every image by itself through convolution, normalisation and softplus, by torch's functions."""
    made = []
    for image in images.flatten(0, -4):
        features = image[None]
        for layer in stem.body:
            if isinstance(layer, nn.Conv2d):
                features = functional.conv2d(features, layer.weight, layer.bias, stride=2, padding=1)
            elif isinstance(layer, nn.Softplus):
                features = (1 + features.exp()).log()
            elif isinstance(layer, nn.GroupNorm):
                features = (features - features.mean()) / (features.var(correction=0) + layer.eps).sqrt()
                features = features * layer.weight[:, None, None] + layer.bias[:, None, None]
            else:
                deviation = (layer.running_var + layer.eps).sqrt()
                features = (features - layer.running_mean[:, None, None]) / deviation[:, None, None]
                features = features * layer.weight[:, None, None] + layer.bias[:, None, None]
        made.append(features.flatten())
    return torch.stack(made).reshape(*images.shape[:-3], -1)


def randomise(network: nn.Module) -> None:
    """Weights and running statistics that are nobody's defaults."""
    state = {
        name: value + 0.3 * torch.rand_like(value) for name, value in network.state_dict().items() if value.is_floating_point()
    }
    network.load_state_dict(state, strict=False)


def test_a_stem_runs_once_a_row() -> None:
    """However many samples and cells the other parents have; and where an image is drawn, once a draw."""
    network, images = seen_by("conv"), dict[str, list[int]]()
    for name in ("photo", "map"):
        stem = network.get_submodule(f"stem_{name}")
        stem.body[0].register_forward_hook(lambda _, inputs, __, n=name: images.setdefault(n, []).append(len(inputs[0])))
    loc, _ = network(**seen())
    assert loc.shape[:3] == SEEN_ALL
    assert images == {"photo": [5], "map": [2]}


def test_a_stem_of_an_emitted_model_runs_once_a_row() -> None:
    """With eight samples, and a category and a picture drawn behind the image: q sees it twice, and p not at all."""
    compilation = compile_file(next(path for path in SPECS if path.stem == "pictures"))
    model, images = load(compilation.code, "pictures")(), dict[str, list[int]]()
    for name, module in model.named_modules():
        if isinstance(module, Stem):
            module.body[0].register_forward_hook(lambda _, inputs, __, n=name: images.setdefault(n, []).append(len(inputs[0])))
    model.objective(random_data(model.variables, 4, torch.Generator().manual_seed(0)), samples=8)
    once = {"trunk.stem_photo", "trunk.stem_depth", "trunk.stem_depth_known", "kind.stem_photo", "light.stem_photo"}
    assert images == {f"encoder.{name}": [4] for name in once} | {"encoder.light.stem_sketch": [3 * 8 * 4]}


@pytest.mark.parametrize("side", [8, 28, 32, 42, 48, 50, 1, 2, 3, 7, 13, 31, 49])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_deconv_network_makes_images_of_any_size(side: int, depth: int) -> None:
    network = Deconv({"z": (4,)}, [5], [3, 2, 2][:depth], {"loc": (3, side, side + 1), "scale": (1, side, side + 1)})
    sizes: list[tuple[int, ...]] = []
    for layer in network.body:
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, __, made: sizes.append(tuple(made.shape[2:])))
    loc, scale = network(z=torch.randn(2, 4))
    assert loc.shape == (2, 3, side, side + 1)
    assert scale.shape == (2, 1, side, side + 1)
    expected = [(side, side + 1)]
    for _ in range(depth):
        expected.insert(0, (math.ceil(expected[0][0] / 2), math.ceil(expected[0][1] / 2)))
    assert network.dense.heads == [(3, *expected[0])]
    assert sizes == [*expected[1:], expected[-1]]


@pytest.mark.parametrize(("side", "sizes"), [(28, (7, 14, 28)), (50, (13, 25, 50)), (42, (11, 21, 42)), (8, (2, 4, 8))])
def test_sizes_are_halves_rounded_up(side: int, sizes: tuple[int, ...]) -> None:
    network = Deconv({"z": ()}, [], [4, 3], {"loc": (1, side, side)})
    assert network.dense.heads == [(4, sizes[0], sizes[0])]
    assert [layer.size for layer in network.body if isinstance(layer, nn.Upsample)] == [(sizes[1],) * 2, (sizes[2],) * 2]


def test_a_deconv_network_equals_its_layers_written_out() -> None:
    """From 5 by 3 pixels to 9 by 5: where a size is odd, the last row and column are not doubled."""
    network, z = Deconv({"z": (3,)}, [4], [2], {"loc": (1, 9, 5), "scale": (2, 9, 5)}, activation="tanh"), torch.randn(3)
    with torch.no_grad():
        hidden = torch.tanh(network.dense.first.weight_z @ z + network.dense.first.bias)
        small = torch.tanh(network.dense.body[1].weight @ hidden + network.dense.body[1].bias).reshape(2, 5, 3)
        large = small[:, [0, 0, 1, 1, 2, 2, 3, 3, 4]][:, :, [0, 0, 1, 1, 2]]
        convolution, last = network.body[2], network.body[4]
        large = torch.tanh(window_sums(large, convolution.weight, convolution.bias, 1))
        expected = window_sums(large, last.weight, last.bias, 1)
        loc, scale = network(z=z)
    torch.testing.assert_close(loc, expected[:1], rtol=0, atol=1e-12)
    torch.testing.assert_close(scale, expected[1:], rtol=0, atol=1e-12)


def test_residual_layers_written_out() -> None:
    network, x = (
        Residual({"x": (3,)}, [4, 4, 4], {"loc": (2,), "scale": ()}, "softplus", normalisation="layer"),
        torch.randn(6, 3),
    )
    randomise(network)
    normalise, _, first, second, heads = network.body

    def normalised(features: Tensor, layer: nn.LayerNorm) -> Tensor:
        mean, variance = features.mean(-1, keepdim=True), features.var(-1, correction=0, keepdim=True)
        return functional.softplus((features - mean) / (variance + layer.eps).sqrt() * layer.weight + layer.bias)

    features = normalised(x @ network.first.weight_x.T + network.first.bias, normalise)
    for block in (first, second):
        features = features + normalised(features, block.change[0]) @ block.change[2].weight.T + block.change[2].bias
    loc, scale = network(x=x)
    expected = features @ heads.weight.T + heads.bias
    torch.testing.assert_close(loc, expected[:, :2], rtol=0, atol=1e-12)
    torch.testing.assert_close(scale, expected[:, 2], rtol=0, atol=1e-12)
    trunk = Residual({"x": (3,)}, [4, 4], {})
    assert [type(layer).__name__ for layer in trunk.body] == ["ReLU", "ResidualBlock"]
    assert trunk(x=x).shape == (6, 4)


def test_a_residual_network_of_one_layer_is_a_perceptron() -> None:
    torch.manual_seed(0)
    one = Residual(PARENTS, [8], {"loc": (2, 2), "scale": ()}, normalisation="batch")
    torch.manual_seed(0)
    other = Mlp(PARENTS, [8], {"loc": (2, 2), "scale": ()}, normalisation="batch")
    for found, expected in zip(one(**values()), other(**values()), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("normalisation", ["none", "layer", "batch"])
@pytest.mark.parametrize("kind", ["conv", "deconv", "residual"])
def test_every_kind_broadcasts_as_if_expanded_by_hand(kind: str, normalisation: str) -> None:
    network, parents = seen_by(kind, normalisation=normalisation).eval(), seen()
    randomise(network)
    wide = {name: value.expand(*SEEN_ALL, *SEEN[name]) for name, value in parents.items()}
    for found, expected, shape in zip(network(**parents), network(**wide), PICTURES.values(), strict=True):
        assert found.shape == (*SEEN_ALL, *shape)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 4])
@pytest.mark.parametrize("normalisation", ["none", "layer", "batch"])
@pytest.mark.parametrize("kind", ["conv", "deconv", "residual"])
def test_gradients_reach_every_parameter(kind: str, normalisation: str, rows: int, training: bool) -> None:
    """With no row they are zero; with samples and rows none is, as far as its normalisation lets it through."""
    network = seen_by(kind, normalisation=normalisation, activation="tanh", dropout=0.1).train(training)
    axes = {"photo": (rows,), "map": (2, rows), "digit": (3, 1, 1), "dose": (2, rows)}
    loc, scale = network(**seen(axes))
    assert loc.shape == (3, 2, rows, 2, 9, 7)
    assert scale.shape == (3, 2, rows, 1, 9, 7)
    assert loc.isfinite().all()
    (loc.square().sum() + scale.sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0 if rows > 1 else True, name


def test_batch_normalisation_of_planes_is_over_all_leading_axes_and_pixels() -> None:
    """Of the stem of an image [sample, row, ...] in training, and by the running statistics afterwards."""
    stem, images = Stem((2, 5, 3), [4], "softplus", 0.0, "batch"), torch.randn(6, 5, 2, 5, 3)
    convolution, normalise, _ = stem.body
    planes = functional.conv2d(images.flatten(0, 1), convolution.weight, convolution.bias, stride=2, padding=1)
    mean, variance = planes.mean((0, 2, 3)), planes.var((0, 2, 3), unbiased=False)
    normalised = (planes - mean[:, None, None]) / (variance[:, None, None] + normalise.eps).sqrt()
    expected = functional.softplus(normalised).flatten(1).reshape(6, 5, -1)
    torch.testing.assert_close(stem(images), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(normalise.running_mean, 0.1 * mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(normalise.running_var, 0.9 + 0.1 * planes.var((0, 2, 3)), rtol=0, atol=1e-12)
    before, evaluated = normalise.running_mean.clone(), stem.eval()(images)
    torch.testing.assert_close(stem(images[:1, :1]), evaluated[:1, :1], rtol=0, atol=1e-12)  # no image depends on another
    assert torch.equal(normalise.running_mean, before)


def test_batch_normalisation_of_a_single_pixel_in_training_is_by_the_running_statistics() -> None:
    layer, pixel = BatchNormalisation(3, pixels=True), torch.randn(1, 3, 1, 1)
    layer(2 * torch.randn(10, 3, 4, 4) + 1)
    mean, variance = layer.running_mean.clone()[:, None, None], layer.running_var.clone()[:, None, None]
    torch.testing.assert_close(layer(pixel), (pixel - mean) / (variance + layer.eps).sqrt(), rtol=0, atol=1e-12)
    assert torch.equal(layer.running_mean, mean.flatten())
    two = torch.randn(1, 3, 2, 1)  # of two pixels the mean is that of this image
    found = layer(two)
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["image", "keys", "type", "train", "stem_image", "dense", "images"])
def test_parents_of_any_name(name: str) -> None:
    for kind in (Mlp, Conv, Residual):
        options = {"channels": [2]} if kind is Conv else {}
        assert kind({name: (1, 4, 4)}, hidden=[3], heads={"loc": (2,)}, **options)(**{name: torch.randn(5, 1, 4, 4)}).shape == (
            5,
            2,
        )


TEXT = """model: conv
variables:
  z: {distribution: normal, size: 4}
  image: {distribution: normal, shape: [2, HEIGHT, WIDTH], role: observed}
p:
  image: {parents: [z], network: {kind: deconv}}
q:
  z: {parents: [image], network: {kind: conv}}
"""


@pytest.mark.parametrize(
    ("height", "width", "channels", "seen_by", "made_by"),
    [
        (1, 1, (16,), 32, 32),
        (8, 3, (16,), 64, 128),
        (8, 8, (16,), 128, 256),
        (14, 15, (16, 32), 256, 256),
        (28, 28, (32, 64), 256, 256),
        (48, 42, (32, 64, 128), 256, 256),
        (50, 50, (32, 64, 128), 256, 256),
        (57, 20, (32, 64, 128, 256), 256, 256),
        (300, 200, (32, 64, 128, 256, 256, 256), 256, 256),
    ],
)
def test_defaults_follow_from_the_shapes(
    height: int, width: int, channels: tuple[int, ...], seen_by: int, made_by: int
) -> None:
    """A convolution for each halving that leads to at most 7 pixels, and one layer as wide as the larger end."""
    spec = compile_text(TEXT.replace("HEIGHT", str(height)).replace("WIDTH", str(width)), "m.yaml").graph.spec
    seen, made = spec.q.conditionals["z"].network, spec.p["image"].network
    assert (seen.channels, seen.hidden) == (channels, (seen_by,))
    assert (made.channels, made.hidden) == (channels[::-1], (made_by,))
    assert f"kind: conv, channels: {list(channels)}, hidden: [{seen_by}]" in str(spec)


def test_defaults_of_a_residual_network_are_three_layers_of_one_width() -> None:
    text = TEXT.replace("HEIGHT", "5").replace("WIDTH", "5").replace("kind: conv", "kind: residual").replace("deconv", "mlp")
    spec = compile_text(text, "m.yaml").graph.spec
    assert spec.q.conditionals["z"].network.hidden == (64, 64, 64)
    assert spec.p["image"].network.hidden == (128, 128)


@pytest.mark.parametrize("name", ["conv", "deconv", "residual", "mlp", "stem"])
def test_a_model_named_like_a_network(name: str) -> None:
    text = TEXT.replace("model: conv", f"model: {name}").replace("HEIGHT", "5").replace("WIDTH", "4")
    code = compile_text(text, "m.yaml").code
    data = {"image": torch.randn(3, 2, 5, 4)}
    bounds = []
    for source in (code, standalone(code)):
        torch.manual_seed(0)
        bounds.append(load(source, name)().objective(data, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(*bounds)
