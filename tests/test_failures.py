"""What goes wrong in emitted code says where: the variable, the line of the spec and the shapes, over the emitted line itself."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from models import ROOT, random_data
from torch import nn

from graphvae.compiler.pipeline import compile_file
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
    ("path", "change", "source", "parts"),
    [
        (
            MNIST,
            wider_weight("decoder.image", "weight_digit"),
            "logits = self.image(digit=digit, style=style)",
            ["mnist.yaml:10", "image", "digit [10, 1, 1, 10]", "style [10, 2, 3, 50]"],
        ),
        (
            MNIST,
            known("image", 3, 1, 28, 27),
            "logits = self.digit(image=image)",
            ["mnist.yaml:13", "digit", "image [3, 1, 28, 27]"],
        ),
        (
            MNIST,
            known("digit", 3, 7),
            "loc, scale = self.style(image=image, digit=digit)",
            ["mnist.yaml:14", "style", "digit [3, 7]"],
        ),
        (
            MNIST,
            drawn("style", 2, 3, 49),
            'draw.sample("style", Normal(loc, positive(scale)))',
            ["mnist.yaml:14", "style", "loc [10, 1, 3, 50]"],
        ),
        (
            EVERYTHING,
            wider_weight("encoder.trunk", "weight_counts"),
            "trunk = self.trunk(image=image, counts=counts)",
            ["everything.yaml:21", "trunk", "counts [3, 2, 4]"],
        ),
    ],
)
def test_a_failure_names_variable_line_and_shapes(path: Path, change: Break, source: str, parts: list[str]) -> None:
    text = failure(path, change)
    assert source in text, "the emitted line itself"
    note = text[text.index("while computing") :]
    assert [part for part in parts if part not in note] == []


def test_each_text_has_its_own_source() -> None:
    """A later compilation of the same model does not put its lines into the tracebacks of an earlier one."""
    code = compile_file(MNIST).code
    before, after = load(code, "mnist"), load(code.replace("class Mnist", "# another line\nclass Mnist"), "mnist")
    assert inspect.getsource(before).startswith("class Mnist(Model):")
    assert inspect.getsource(after) == inspect.getsource(before)
    assert inspect.getsourcelines(after)[1] == inspect.getsourcelines(before)[1] + 1
