"""Pyro as an independent implementation: p as a model and q as a guide score every variable as the emitted code does.

Both are written from the Plan and the weights alone, with Pyro's families and masks; every draw of q is then clamped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from models import NAMES, SPECS, random_data, random_model
from pyro import poutine
from reference import State, conditionals, encode, present
from scipy import special
from torch import Tensor

from graphvae.compiler.pipeline import compile_file
from graphvae.compiler.plan import SidePlan
from graphvae.runtime import Block, Model, Term, load

ROWS, SAMPLES = 3, 2

pytestmark = pytest.mark.usefixtures("float64")


class Angle(dist.VonMises):
    """Pyro's, which is torch's, has a normaliser of seven digits; scipy's has all."""

    def log_prob(self, value: Tensor) -> Tensor:
        exact = torch.as_tensor(special.i0e(self.concentration.numpy())).log() + self.concentration
        return self.concentration * torch.cos(value - self.loc) - exact - torch.log(torch.tensor(2 * torch.pi))


class RoundedLogistic(dist.Logistic):
    """Levels between 0 and 1, by the distribution function."""

    def __init__(self, loc: Tensor, scale: Tensor, levels: int) -> None:
        super().__init__(loc, scale)
        self.half = 0.5 / (levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        above = torch.where(value > 1 - self.half, 1.0, self.cdf(value + self.half))
        return (above - torch.where(value < self.half, 0.0, self.cdf(value - self.half))).log()


def ordered(loc: Tensor, logits: Tensor) -> dist.Distribution:
    return dist.OrderedLogistic(loc, logits.softmax(-1).cumsum(-1)[..., :-1].logit())


FAMILIES: dict[str, Callable[..., Any]] = {
    "normal": dist.Normal,
    "laplace": dist.Laplace,
    "student_t": dist.StudentT,
    "log_normal": dist.LogNormal,
    "gamma": dist.Gamma,
    "continuous_bernoulli": dist.ContinuousBernoulli,
    "von_mises": Angle,
    "dirichlet": dist.Dirichlet,
    "multivariate_normal": lambda loc, scale, below: dist.MultivariateNormal(loc, scale_tril=below.tril(-1) + scale.diag()),
    "low_rank_normal": lambda loc, scale, factor: dist.LowRankMultivariateNormal(loc, factor, scale**2),
    "mixture_of_normals": lambda logits, loc, scale: dist.MixtureSameFamily(
        dist.Categorical(logits=logits), dist.Normal(loc, scale).to_event(1)
    ),
    "bernoulli": dist.Bernoulli,
    "categorical": lambda logits: dist.Categorical(logits=logits),
    "ordinal": ordered,
    "binomial": dist.Binomial,
    "poisson": dist.Poisson,
    "negative_binomial": dist.NegativeBinomial,
    "zero_inflated_poisson": lambda gate_logits, rate: dist.ZeroInflatedPoisson(rate, gate_logits=gate_logits),
    "discretised_logistic": RoundedLogistic,
}


def program(side: SidePlan, network: str, state: State, known: Mapping[str, Tensor]) -> Callable[[], None]:
    """One side as a Pyro program, given what it conditions on; `known` also says which elements of a variable are there."""

    def run() -> None:
        values = dict(known)
        for step, given in conditionals(side, network, state, values):
            name, categories = step.value.name, step.value.event[-1] if step.family.simplex else 0
            elements = FAMILIES[step.family.name](**given)
            there = present(known[name], len(elements.batch_shape)) if name in known else torch.tensor(True)
            drawn = pyro.sample(name, elements.mask(there).to_event(len(elements.batch_shape)))
            values[name] = torch.eye(categories)[drawn] if categories else drawn

    return run


def traced(run: Callable[[], None], values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Log-probabilities by name, with every variable clamped."""
    with pyro.validation_enabled(False):  # what is missing has no support, nor has a switch that is half on
        trace = poutine.trace(pyro.condition(run, data=values)).get_trace()
        trace.compute_log_prob()
    return {name: site["log_prob"] for name, site in trace.nodes.items() if site["type"] == "sample"}


def as_pyro(side: SidePlan, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values as Pyro holds them: a category as an integer."""
    simplex = {step.value.name: step.family.simplex for step in side.steps if hasattr(step, "family")}
    return {name: values[name].argmax(-1) if category else values[name] for name, category in simplex.items()}


@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_pyro_gives_the_same_weights(path: Path) -> None:
    """Log p and log q of every variable, in every row, sample and cell that its labels leave."""
    compilation = compile_file(path)
    generator, plan = torch.Generator().manual_seed(0), compilation.plan
    model = random_model(load(compilation.code, compilation.spec.model), generator)
    data, state = random_data(model.variables, ROWS, generator), model.state_dict()
    with torch.no_grad():
        draws, terms = model.infer(Block(model.evidence(data), model.noise(SAMPLES, ROWS, generator)), model.knobs())
        for row, cell, values in worlds(model, {name: draw.value for name, draw in draws.items()}, terms):
            fixed = {n.name: encode(n, data[n.name][row]) for n in plan.variables if n.role in ("observed", "given")}
            guide, model_of = program(plan.q, "encoder", state, fixed), program(plan.p, "decoder", state, fixed)
            log_q, log_p = (traced(run, as_pyro(side, fixed | values)) for run, side in ((guide, plan.q), (model_of, plan.p)))
            assert log_p.keys() == terms.keys()
            assert log_q.keys() == draws.keys()
            for name, term in terms.items():
                torch.testing.assert_close(at(term.log_p, cell), log_p[name], rtol=1e-9, atol=1e-9)
                if name in draws:
                    torch.testing.assert_close(at(term.log_q, cell), log_q[name], rtol=1e-9, atol=1e-9)


def worlds(
    model: Model, values: Mapping[str, Tensor], terms: Mapping[str, Term]
) -> Iterator[tuple[int, tuple[int, ...], dict[str, Tensor]]]:
    """Every place [enumerations..., sample, row] that labels do not rule out, with its row and the values of what q infers."""
    events = {name: len(model.variables[name].event) for name in values}
    shapes = [value.shape[: value.dim() - events[name]] for name, value in values.items()]
    for cell in product(*map(range, torch.broadcast_shapes(*shapes, (ROWS,)))):
        kept = all(at(term.log_cell, cell) > -torch.inf for term in terms.values() if term.log_cell is not None)
        if kept:
            yield cell[-1], cell, {name: at(value, cell, events[name]) for name, value in values.items()}


def at(value: Tensor, cell: tuple[int, ...], event: int = 0) -> Tensor:
    """A value [..., row, event...] at a place, whichever axes it has."""
    axes = value.dim() - event
    place = tuple(index if size > 1 else 0 for index, size in zip(cell[len(cell) - axes :], value.shape[:axes], strict=True))
    return value[place]
