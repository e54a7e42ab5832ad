"""What goes wrong in emitted code says where: the variable, the spec's line, the shapes, and the emitted line itself."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from models import ROOT, random_data
from torch import nn

from graphvae.compiler.pipeline import compile_file
from graphvae.compiler.standalone import standalone
from graphvae.runtime import Block, Evidence, Model, load

MNIST = ROOT / "specs" / "mnist.yaml"
EVERYTHING = ROOT / "tests" / "specs" / "everything.yaml"

Break = Callable[[Model, Block], Block]


def wider_weight(network: str, weight: str) -> Break:
    """A weight that takes one feature more than its parent has."""

    def change(model: Model, block: Block) -> Block:
        first = model.get_submodule(network).first
        features, inputs = getattr(first, weight).shape
        setattr(first, weight, nn.Parameter(torch.zeros(features, inputs + 1)))
        return block

    return change


def known(name: str, *shape: int) -> Break:
    """Evidence of another shape than the variable has."""
    return lambda _, block: block._replace(evidence={**block.evidence, name: Evidence(torch.zeros(shape))})


def learned(network: str, name: str, *shape: int) -> Break:
    """A learned parameter of another shape than its variable has."""

    def change(model: Model, block: Block) -> Block:
        setattr(model.get_submodule(network), name, nn.Parameter(torch.zeros(shape)))
        return block

    return change


def drawn(name: str, *shape: int) -> Break:
    """Noise of another shape than the variable has."""
    return lambda _, block: block._replace(noise={**block.noise, name: torch.zeros(shape)})


def failure(path: Path, change: Break) -> str:
    """The traceback, as it is printed, of a broken model of this spec on three rows."""
    compilation = compile_file(path)
    model = load(compilation.code, compilation.spec.model)()
    generator = torch.Generator().manual_seed(0)
    block = change(model, model.block(random_data(model.variables, 3, generator), 2, generator))
    with pytest.raises((RuntimeError, ValueError)) as caught:
        model.estimate(block, model.knobs())
    return "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("path", "change", "source", "note"),
    [
        (
            MNIST,
            wider_weight("decoder.image", "weight_digit"),
            "logits = self.image(digit=digit, style=style)",
            "computing 'image' (mnist.yaml:10): logits = self.image(digit=digit, style=style)\n"
            "  with digit [10, 1, 1, 10], style [10, 2, 3, 5]",
        ),
        (
            MNIST,
            known("image", 3, 1, 28, 27),
            "logits = self.digit(image=image)",
            "computing 'digit' (mnist.yaml:13): logits = self.digit(image=image)\n  with image [3, 1, 28, 27]",
        ),
        (
            MNIST,
            drawn("style", 2, 3, 4),
            'draw.sample("style", Normal(loc, positive(scale)))',
            "computing 'style' (mnist.yaml:14): draw.sample('style', Normal(loc, positive(scale)))\n"
            "  with loc [10, 1, 3, 5], scale [10, 1, 3, 5], noise [2, 3, 4]",
        ),
        (
            EVERYTHING,
            drawn("angle", 2, 4),
            "angle = draw.sample(",
            "computing 'angle' (everything.yaml:22): angle = "
            "draw.sample('angle', Normal(loc_2, positive(scale, floor=0.01), event=0))\n"
            "  with loc_2 [3], scale [3], noise [2, 4]",
        ),
        (
            EVERYTHING,
            wider_weight("encoder.trunk", "weight_counts"),
            "trunk = self.trunk(image=image, counts=counts)",
            "computing 'trunk' (everything.yaml:21): trunk = self.trunk(image=image, counts=counts)\n"
            "  with image [3, 1, 4, 4], counts [3, 2, 4]",
        ),
        (
            EVERYTHING,
            learned("decoder", "image_scale", 1, 4, 3),
            "self.distribution.log_prob(self.value)",
            "scoring 'image' (everything.yaml:19)\n  with value [3, 1, 4, 4], loc [4, 3, 2, 3, 1, 4, 4], scale [1, 4, 3]",
        ),
    ],
)
def test_a_failure_names_variable_line_and_shapes(path: Path, change: Break, source: str, note: str) -> None:
    text = failure(path, change)
    assert source in text
    assert text.rstrip().endswith(f"while {note}")


def test_a_standalone_file_does_the_same(tmp_path: Path) -> None:
    """The runtime is in the same module there, and its frames are not the emitted ones."""
    path = tmp_path / "model.py"
    path.write_text(standalone(compile_file(MNIST).code), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("standalone_mnist", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["standalone_mnist"] = module
    spec.loader.exec_module(module)
    model = module.Mnist()
    with pytest.raises(RuntimeError) as caught:
        model.estimate(module.Block({"image": module.Evidence(torch.zeros(3, 1, 28, 27))}, model.noise(2, 3)), model.knobs())
    assert caught.value.__notes__[0].startswith("while computing 'digit' (mnist.yaml:13): logits = self.digit(image=image)")


def test_each_text_has_its_own_source() -> None:
    """A later compilation of the same model does not put its lines into the tracebacks of an earlier one."""
    code = compile_file(MNIST).code
    before, after = load(code, "mnist"), load(code.replace("class Mnist", "# another line\nclass Mnist"), "mnist")
    assert inspect.getsource(before).startswith("class Mnist(Model):")
    assert inspect.getsource(after) == inspect.getsource(before)
    assert inspect.getsourcelines(after)[1] == inspect.getsourcelines(before)[1] + 1
