"""Loops that the compiler writes: within each other against the oracle, and gradients below steps that are summed out."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from models import random_data, random_model
from proof_plates import shared, spread
from reference import objective
from torch import Tensor

from graphvae.compiler.pipeline import compile_file, compile_text
from graphvae.runtime import Block, Model, load

pytestmark = pytest.mark.usefixtures("float64")

# A loop over the steps of a line, in each slot of a loop over lines.

LINE = """
model: line
plates: {step: {size: 2, active: length}}
variables:
  length: {distribution: categorical, values: [1, 2], role: supervised}
  kind: {distribution: categorical, categories: 2, plate: step, role: supervised}
  pen: {distribution: normal, size: 2, plate: step}
  style: {distribution: normal, size: 2}
  ink: {distribution: normal, size: 3, role: observed}
p:
  pen: {parents: [pen.previous, kind], network: {hidden: [4]}, initial: learned}
  kind: {parents: [kind.previous], network: {hidden: [4]}}
  ink: {parents: [pen, style], network: {hidden: [4], pool: sum}}
q:
  length: {parents: [ink], network: {hidden: [4]}}
  kind: {parents: [ink, kind.previous], GRADIENT network: {hidden: [4]}}
  state: {plate: step, parents: [kind, state.previous], network: {kind: gru, size: 3}, initial: learned}
  pen: {parents: [ink, state, pen.previous], network: {hidden: [4]}}
  style: {parents: [pen], network: {hidden: [4], pool: mean}}
"""
PAGE = """
model: page
plates: {slot: {size: 2, active: count}}
submodels: {line: {spec: line.yaml, plate: slot}}
variables:
  count: {distribution: categorical, values: [1, 2], role: supervised}
  place: {distribution: normal, size: 2, plate: slot}
  canvas: {distribution: normal, size: 4, role: observed}
p:
  place: {parents: [place.previous], network: {hidden: [4]}}
  canvas: {parents: [line.ink, place], network: {hidden: [4], pool: sum}}
q:
  count: {parents: [canvas], network: {hidden: [4]}}
  place: {parents: [canvas, line.style.previous, place.previous], network: {hidden: [4]}, initial: learned}
  line.ink: {parents: [canvas, place], network: {hidden: [4]}}
"""


@pytest.mark.parametrize("gradient", ["gradient: concrete,", "gradient: score_function,", ""])
def test_a_loop_within_a_loop_agrees_with_the_oracle(tmp_path: Path, gradient: str) -> None:
    (tmp_path / "line.yaml").write_text(LINE.replace("GRADIENT", gradient))
    (tmp_path / "page.yaml").write_text(PAGE)
    compilation = compile_file(tmp_path / "page.yaml")
    assert compilation.graph.q.conditionals["line.kind"].conditional.gradient in (gradient[10:-1] or "score_function")
    generator = torch.Generator().manual_seed(0)
    model = random_model(load(compilation.code, "page"), generator)
    data = random_data(model.variables, 2, generator, model.plates)
    noise = {
        name: torch.rand((2, 2, *model.variables[name].shape), generator=generator) for name in model.noise(2, 2, generator)
    }
    weights = [{name: weight for name, kind in model.variables.items() if kind.inferred} for weight in (0.7, 1.3)]
    found = model.estimate(Block(model.evidence(data), spread(model, noise)), model.knobs(*weights))[1].bound
    torch.testing.assert_close(found, objective(shared(compilation.plan), model.state_dict(), data, noise, *weights))


# A step s_k that is summed out, and below it a draw z_k without a gradient through it, which s_{k+1} depends on.

FORKS = """
model: forks
plates: {step: {size: 2, active: count}}
variables:
  count: {distribution: categorical, values: [1, 2], role: supervised}
  s: {distribution: bernoulli, plate: step}
  z: {distribution: bernoulli, plate: step}
  y: {distribution: bernoulli, role: supervised}
  x: {distribution: normal, role: observed}
p:
  z: {parents: [s], network: {hidden: [2]}}
  y: {parents: [z], network: {hidden: [2], pool: sum}}
  x: {parents: [s, z], network: {hidden: [2], pool: sum}, parameters: {scale: 1}}
q:
  count: {parents: [x], network: {hidden: [2]}}
  s: {parents: [x, z.previous], gradient: enumerate, network: {hidden: [2]}}
  z: {parents: [x, s], gradient: score_function, network: {hidden: [2]}}
  y: {parents: [x, z], network: {hidden: [2], pool: sum}}
objective: {samples: 2}
"""
SAMPLES, X, STEP = 2, 1.2, 1e-5


def forks() -> Model:
    made = random_model(load(compile_text(FORKS, "forks.yaml").code, "forks"), torch.Generator().manual_seed(2))
    for parameter in made.parameters():
        parameter.data *= 2
    return made


def every_draw(model: Model) -> tuple[Tensor, Tensor, Tensor]:
    """A row for every way that the draws can come out: z of the first step [sample, row, s_0] and of the second
    [sample, row, s_0, s_1], and the noise that leads to them.
    """
    ways = torch.tensor(list(product((0.0, 1.0), repeat=6 * SAMPLES))).reshape(-1, SAMPLES, 6).movedim(1, 0)
    first, second = ways[..., :2], ways[..., 2:].unflatten(-1, (2, 2))
    shape = model.noise(SAMPLES, 1, torch.Generator())["z"].shape
    assert shape[2:] == (2, 2, 2, 2), "s_1, s_0, the count, and the step"
    drawn = torch.stack([first.unsqueeze(-1).expand_as(second), second], -1).movedim(-2, 2).unsqueeze(-2)
    return first, second, torch.where(drawn > 0, 1e-12, 1 - 1e-12).expand(*drawn.shape[:-2], 2, 2)


@pytest.mark.parametrize("known", [{"count": 1}, {"count": 0}, {"count": 1, "y": 1.0}, {"count": 0, "y": 0.0}])
def test_a_draw_below_steps_of_its_loop_has_the_gradient_of_the_expected_bound(known: dict[str, float]) -> None:
    """The mean of the gradient over every way that the draws can come out, against differences of the mean of the bound."""
    model = forks()
    first, second, noise = every_draw(model)
    rows = first.shape[1]
    data = {"x": torch.full((rows,), X)} | {name: torch.full((rows,), value) for name, value in known.items()}
    block = Block(
        model.evidence(data), {"z": noise, "y": torch.full((SAMPLES, rows), 0.5)} if "y" not in known else {"z": noise}
    )

    def bound_and_probability() -> tuple[Tensor, Tensor]:
        logits = torch.stack([model.encoder.z(x=torch.tensor(X), s=torch.tensor(s)) for s in (0.0, 1.0)])
        chosen = torch.distributions.Bernoulli(logits=logits.reshape(2))
        log_r = chosen.log_prob(first).sum((0, 2)) + chosen.log_prob(second).sum((0, 2, 3))
        return model.estimate(block, model.knobs(0.7, 1.3))[1].bound, log_r.exp()

    bound, probability = bound_and_probability()
    torch.testing.assert_close(probability.sum(), torch.ones(()))
    parameters = list(model.parameters())
    found = torch.autograd.grad((probability.detach() * bound).sum(), parameters, materialize_grads=True)
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(parameter.shape, generator=generator) for parameter in parameters]
    slope, ends = sum((one * other).sum() for one, other in zip(found, directions, strict=True)), []
    for shift in (STEP, -2 * STEP):
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.data += shift * direction
        with torch.no_grad():
            value, weight = bound_and_probability()
        ends.append((value * weight).sum())
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / (2 * STEP), rtol=1e-6, atol=1e-8)
