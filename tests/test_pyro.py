"""Pyro as an independent implementation: p as a model and q as a guide score every variable as the emitted code does.

Both are written from the Plan and the weights alone, with Pyro's families, plates and masks, and every draw of q is clamped.
Networks and expressions are the oracle's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from models import NAMES, SPECS, random_data, random_model
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from reference import Local, Slot, State, Walk, encode, parameter, present, under
from scipy import special
from torch import Tensor

from graphvae.compiler.pipeline import compile_file
from graphvae.compiler.plan import Draw, Plan, Score
from graphvae.runtime import Block, Model, Term, load

ROWS, SAMPLES = 3, 2
LARGE = ("faces", "faces_intrinsic", "multi_mnist", "multi_mnist_plain")

GLYPH = """
model: glyph
variables:
  kind: {distribution: categorical, categories: 2, role: supervised}
  style: {distribution: normal, size: 2}
  image: {distribution: normal, size: 3, role: observed}
p:
  image: {parents: [kind, style], network: {hidden: [4]}}
q:
  kind: {parents: [image], network: {hidden: [4]}}
  style: {parents: [image, kind], network: {hidden: [4]}}
objective: {alpha: 1}
"""
PAGE = """
model: page
plates: {slot: {size: 2, active: count}}
submodels:
  glyph: {spec: glyph.yaml, plate: slot, variables: {image: {role: latent, collapse: mean}}}
variables:
  count: {distribution: categorical, values: [1, 2], role: supervised}
  place: {distribution: normal, plate: slot}
  canvas: {distribution: normal, size: 3, role: observed}
p:
  canvas: {parents: [glyph.image, place], parameters: {loc: "sum(glyph.image * exp(place), slot)", scale: 0.5}}
q:
  count: {parents: [canvas], network: {hidden: [4]}}
  place: {parents: [canvas, slot], network: {hidden: [4]}}
  glyph.image: {parents: [canvas, place], network: {hidden: [4]}}
objective: {alpha: 1}
"""

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
    "multivariate_normal": lambda loc, scale, below: dist.MultivariateNormal(
        loc, scale_tril=below.tril(-1) + scale.diag_embed()
    ),
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


class Program(Walk):
    """One side as a Pyro program in which every variable has its value: a plate for slots that do not wait for each other.

    The slots of a loop come one after the other, each with sample sites of its own, and so do those of a sub-model.
    """

    def draw(self, step: Draw | Score, weights: State, slot: Slot, local: dict[str, Local]) -> None:
        plates = [axis for axis in step.value.axes if axis in self.plan.sizes]
        given = {}
        for row in step.parameters:
            slots = torch.stack([parameter(row, weights, local, own) for own in self.slots(plates)])
            given[row.name] = slots.reshape((*self.sizes(plates), *slots.shape[1:]))
        number = {} if step.number is None else {step.family.number.name: step.number}
        self.site(step, plates, slot, FAMILIES[step.family.name](**given, **number))

    def site(self, step: Draw | Score, plates: list[str], slot: Slot, elements: Any) -> None:
        """A sample site for all slots of some plates, without those that no count has reached."""
        name, node = step.value.name, self.nodes[step.value.name]
        if step.collapse:
            self.values[name] = placed(self.values[name], node.plates, slot, elements.mean)
            return
        value = self.here(name, slot).value
        dimensions = len(elements.batch_shape)
        there = present(value, dimensions)
        there = there & self.reached(node.plates, plates, slot)[(..., *(None,) * (dimensions - len(plates)))]
        label = "".join(f"[{slot[plate]}]" for plate in node.plates if plate in slot)
        with ExitStack() as stack:
            for place, plate in enumerate(plates):
                stack.enter_context(pyro.plate(f"{name}{label} {plate}", self.plan.sizes[plate], dim=place - len(plates)))
            value = value.argmax(-1) if step.family.simplex and step.family.support == "categories" else value
            pyro.sample(f"{name}{label}", elements.mask(there).to_event(dimensions - len(plates)), obs=value)

    def reached(self, own: Sequence[str], plates: Sequence[str], slot: Slot) -> Tensor:
        """Which slots of these plates are active."""
        slots = [{**slot, **inner} for inner in self.slots(plates)]
        weights = [all(self.active[plate].at(each) > 0 for plate in own if plate in self.active) for each in slots]
        return torch.tensor(weights).reshape(self.sizes(plates))


def placed(value: Tensor, plates: Sequence[str], slot: Slot, part: Tensor) -> Tensor:
    """A value in all slots of its plates, with another one in a slot of some."""
    value = value.clone()
    value[tuple(slot.get(plate, slice(None)) for plate in plates)] = part
    return value


def scored(plan: Plan, side: str, state: State, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Log-probabilities by variable, over all its slots, at values [plates..., event...] of all variables."""
    own, network = {"q": (plan.q, "encoder"), "p": (plan.p, "decoder")}[side]
    walk = Program(plan, {}, {}, {})
    walk.values = dict(values)
    with pyro.validation_enabled(False):  # what is missing has no support, nor has a switch that is half on
        trace = poutine.trace(lambda: walk.run(own, under(state, network), {}, {})).get_trace()
        trace.compute_log_prob()
    made = {step.value.name: torch.zeros(()) for step in own.every if isinstance(step, (Draw, Score))}
    for site, found in trace.nodes.items():
        if found["type"] == "sample" and not site_is_subsample(found):
            made[site.partition("[")[0]] += found["log_prob"].sum()
    return made


def agrees(path: Path) -> int:
    """Compare log p and log q of every variable, in every row, sample and cell that labels leave; how many there are."""
    compilation = compile_file(path)
    generator, plan, compared = torch.Generator().manual_seed(0), compilation.plan, 0
    model = random_model(load(compilation.code, compilation.spec.model), generator)
    data, state = random_data(model.variables, ROWS, generator, model.plates), model.state_dict()
    with torch.no_grad():
        draws, terms = model.infer(Block(model.evidence(data), model.noise(SAMPLES, ROWS, generator)), model.knobs())
        for row, cell, inferred in worlds(model, {name: draw.value for name, draw in draws.items()}, terms):
            fixed = {n.name: encode(plan, n, data[n.name][row]).value for n in plan.variables if n.evidence}
            log_q, log_p = (scored(plan, side, state, fixed | inferred) for side in "qp")
            assert log_p.keys() == terms.keys()
            assert log_q.keys() == draws.keys()
            for name, term in terms.items():
                torch.testing.assert_close(at(term.log_p, cell), log_p[name], rtol=1e-9, atol=1e-9)
                if name in draws:
                    torch.testing.assert_close(at(term.log_q, cell), log_q[name], rtol=1e-9, atol=1e-9)
            compared += 1
    return compared


@pytest.mark.parametrize("path", SPECS, ids=NAMES)
def test_pyro_gives_the_same_weights(path: Path) -> None:
    if path.stem in LARGE:
        pytest.skip("a picture for every cell, sample and slot takes minutes; a small spec below has the same parts")
    assert agrees(path)


def test_pyro_gives_the_same_weights_of_a_sub_model(tmp_path: Path) -> None:
    """In counted slots, with a picture that is its mean and an expression over the slots."""
    (tmp_path / "glyph.yaml").write_text(GLYPH, encoding="utf-8")
    (tmp_path / "page.yaml").write_text(PAGE, encoding="utf-8")
    assert agrees(tmp_path / "page.yaml")


def worlds(
    model: Model, values: Mapping[str, Tensor], terms: Mapping[str, Term]
) -> Iterator[tuple[int, tuple[int, ...], dict[str, Tensor]]]:
    """Every place [enumerations..., sample, row] that labels do not rule out, with its row and the values of what q infers."""
    events = {name: len(model.variables[name].shape) for name in values}
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
