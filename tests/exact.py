"""Models whose every number is known, their exact values by enumeration, and noise that turns an estimate into an exact sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from graphvae.compiler.pipeline import compile_text
from graphvae.runtime import Block, Categorical, Draws, Evidence, Knobs, Mlp, Model, Term, Variable, load
from graphvae.runtime.draws import Draw


@dataclass(frozen=True)
class Factor:
    """A discrete conditional: probabilities [parent values..., value]."""

    parents: tuple[str, ...]
    table: np.ndarray


Factors = Mapping[str, Factor]


def factor(parents: str, table: object) -> Factor:
    """A factor from its parents, separated by blanks, and nested lists of probabilities."""
    return Factor(tuple(parents.split()), np.array(table, dtype=float))


def random_factor(generator: np.random.Generator, parents: str, *shape: int) -> Factor:
    return factor(parents, generator.dirichlet(np.ones(shape[-1]), shape[:-1]))


# Exact values, in numpy and by loops over every world: nothing here is shared with the runtime.


@dataclass(frozen=True)
class Exact:
    """The truth about one row: what is known of it, and everything that follows.

    `labels` is log q of each label given the row and the labels before it; `mean_logs` the mean of log q(label | parents) over
    ancestral draws; `reconstructions` and `kls` are expected under q(unknown | known); `q` and `p` are the posterior
    probabilities of each variable given what is known; `draws` is the mean over ancestral draws of log p(known, drawn) - log
    q(drawn), the importance bound at one sample.
    """

    log_evidence: float
    labels: dict[str, float]
    mean_logs: dict[str, float]
    reconstructions: dict[str, float]
    kls: dict[str, float]
    draws: float
    q: dict[str, np.ndarray]
    p: dict[str, np.ndarray]

    def bound(self, alpha: Mapping[str, float], beta: Mapping[str, float], label_term: str = "log_mean") -> float:
        """Equation (A) with its weights: what the self-normalised objective tends to."""
        labels = self.labels if label_term == "log_mean" else self.mean_logs
        main = sum(self.reconstructions.values()) - sum(beta[name] * kl for name, kl in self.kls.items())
        return main + sum((beta[name] + alpha[name]) * value for name, value in labels.items())


def exact(p: Factors, q: Factors, known: Mapping[str, int]) -> Exact:
    """The truth, by a sum over every value of what is not known."""
    unknown = [name for name in q if name not in known]
    sizes = {name: p[name].table.shape[-1] for name in p}
    worlds = [{**known, **dict(zip(unknown, cell, strict=True))} for cell in product(*(range(sizes[n]) for n in unknown))]
    log_p = {name: np.array([log_probability(p, name, world) for world in worlds]) for name in p}
    log_q = {name: np.array([log_probability(q, name, world) for world in worlds]) for name in q}
    log_draw = sum((log_q[name] for name in unknown), np.zeros(len(worlds)))
    joint = sum(log_p.values(), np.zeros(len(worlds)))
    labels, weight = {}, log_draw
    for name in (name for name in q if name in known):
        labels[name] = logsumexp(weight + log_q[name]) - logsumexp(weight)
        weight = weight + log_q[name]
    posterior, truth = np.exp(weight - logsumexp(weight)), np.exp(joint - logsumexp(joint))
    return Exact(
        log_evidence=logsumexp(joint),
        labels=labels,
        mean_logs={name: expect(np.exp(log_draw), log_q[name]) for name in labels},
        reconstructions={name: expect(posterior, log_p[name]) for name in p if name not in q},
        kls={name: expect(posterior, log_q[name] - log_p[name]) for name in q},
        draws=expect(np.exp(log_draw), joint - log_draw),
        q={name: marginal(posterior, [world[name] for world in worlds], sizes[name]) for name in q},
        p={name: marginal(truth, [world[name] for world in worlds], sizes[name]) for name in q},
    )


def log_probability(factors: Factors, name: str, world: Mapping[str, int]) -> float:
    place = (*(world[parent] for parent in factors[name].parents), world[name])
    return float(np.log(factors[name].table[place]))


def logsumexp(values: np.ndarray) -> float:
    return float(np.logaddexp.reduce(values))


def expect(weight: np.ndarray, value: np.ndarray) -> float:
    return float((weight * value).sum())


def marginal(weight: np.ndarray, values: Sequence[int], size: int) -> np.ndarray:
    return np.bincount(values, weights=weight, minlength=size)


# The same models by hand over the runtime, and from a spec.


class Tables(nn.Module):
    """p or q by hand: conditionals as tables of logits, in topological order."""

    def __init__(self, factors: Factors, enumerated: Sequence[str] = ()) -> None:
        super().__init__()
        self.parents = {name: factor.parents for name, factor in factors.items()}
        self.enumerated = list(enumerated)
        logits = {name: torch.tensor(factor.table).log() for name, factor in factors.items()}
        self.logits = nn.ParameterDict({name: nn.Parameter(value) for name, value in logits.items()})

    def forward(self, evidence: Mapping[str, Evidence], noise: Mapping[str, Tensor], knobs: Knobs) -> dict[str, Draw]:
        draw = Draws(evidence, noise, knobs)
        inputs = {parent for parents in self.parents.values() for parent in parents if parent not in self.parents}
        values = {name: draw.given(name) for name in inputs}
        for name, parents in self.parents.items():
            distribution = Categorical(self.logits[name][tuple(values[parent].argmax(-1) for parent in parents)])
            if name in self.enumerated:
                values[name] = draw.enumerate(name, distribution, axis=self.enumerated.index(name))
            else:
                values[name] = draw.sample(name, distribution)
        return draw.made


def table_model(
    p: Factors, q: Factors, labels: str = "", enumerated: str = "", label_term: str = "log_mean", observed: str = "x"
) -> Model:
    """A model by hand. `labels` and `enumerated` are names separated by blanks; what q does not infer is observed."""
    roles = {name: "supervised" if name in labels.split() else "latent" for name in q} | dict.fromkeys(
        observed.split(), "observed"
    )
    variables = {
        name: Variable(roles[name], Categorical, (p[name].table.shape[-1],), enumerated=name in enumerated.split())
        for name in p
    }
    model = type("TableModel", (Model,), {"variables": variables, "label_term": label_term})
    return model(Tables(q, enumerated.split()), Tables(p))


def spec_model(text: str) -> Model:
    """The model that a spec's text compiles to, in evaluation mode."""
    return load(compile_text(text, "test.yaml").code, "test")().eval()


def fill(model: Model, p: Factors, q: Factors) -> Model:
    """Set the weights of a compiled model so that its networks are tables."""
    for network, factors in ((model.decoder, p), (model.encoder, q)):
        for name, each in factors.items():
            logits = torch.tensor(each.table).log()
            if each.parents:
                set_table(getattr(network, name), each.parents, logits)
            elif hasattr(network, f"{name}_logits"):
                getattr(network, f"{name}_logits").data.copy_(logits)
    return model


@torch.no_grad()
def set_table(network: Mlp, parents: Sequence[str], logits: Tensor) -> None:
    """Make a perceptron the table [parent values..., head] of one-hot parents.

    Without a hidden layer (and with one parent) it is linear; else one hidden unit fires for each cell.
    """
    if not len(network.body):
        network.first.get_parameter(f"weight_{parents[0]}").copy_(logits.T)
        network.first.bias.zero_()
        return
    cells = list(product(*map(range, logits.shape[: len(parents)])))
    for index, name in enumerate(parents):
        weight = network.first.get_parameter(f"weight_{name}")
        weight.copy_(torch.eye(weight.shape[1])[[cell[index] for cell in cells]])
    network.first.bias.fill_(1 - len(parents))
    network.body[-1].weight.copy_(logits.reshape(len(cells), -1).T)
    network.body[-1].bias.zero_()


@torch.no_grad()
def set_linear(network: Mlp, **heads: Mapping[str, float]) -> None:
    """Make a perceptron of scalar parents without hidden layers linear: for each head its coefficients, `bias` among them."""
    for row, coefficients in enumerate(heads.values()):
        for parent in network.first.parents:
            network.first.get_parameter(f"weight_{parent}")[row] = coefficients.get(parent, 0.0)
        network.first.bias[row] = coefficients.get("bias", 0.0)


def unpositive(scale: float, floor: float = 1e-6) -> float:
    """The head that `positive` turns into this scale."""
    return float(np.log(np.expm1(scale - floor)))


# Noise that turns an estimate into an exact sum.


def every_tuple(sizes: Mapping[str, int], samples: int) -> dict[str, Tensor]:
    """Every assignment of values to samples of several variables, one a row: [sample, row] each."""
    worlds = list(product(range(prod(sizes.values())), repeat=samples))
    cells = np.array(list(product(*map(range, sizes.values()))))[np.array(worlds)]  # [row, sample, variable]
    return {name: torch.tensor(cells[..., index].T) for index, name in enumerate(sizes)}


def forced(values: Tensor, size: int) -> Tensor:
    """Uniform noise whose Gumbel variables make a categorical draw these values [...]."""
    return torch.where(torch.eye(size, dtype=torch.bool)[values], 1 - 1e-15, 1e-300)


def all_draws(model: Model, q: Factors, drawn: Sequence[str], known: Mapping[str, int], samples: int) -> tuple[Block, Tensor]:
    """A block with a row for every way that q can draw its samples, and the probability of each."""
    sizes = {name: q[name].table.shape[-1] for name in drawn}
    values = every_tuple(sizes, samples)
    rows = len(next(iter(values.values()))[0])
    data = {name: torch.full((rows,), value) for name, value in known.items()}
    noise = {name: forced(values[name], size) for name, size in sizes.items()}
    known_values = {name: torch.full((samples, rows), value) for name, value in known.items()}
    return Block(model.evidence(data), noise), log_draw(q, values | known_values, drawn).exp()


def log_draw(q: Factors, values: Mapping[str, Tensor], drawn: Sequence[str]) -> Tensor:
    """log q of the drawn variables at values [sample, row], over all samples: [row]."""
    parts = [
        torch.tensor(q[name].table).log()[(*(values[parent] for parent in q[name].parents), values[name])] for name in drawn
    ]
    return torch.stack(parts).sum((0, 1))


def gauss_hermite(count: int, variables: int = 1) -> tuple[list[Tensor], Tensor]:
    """Nodes of standard normal noise for each variable, and their log-weights, all [node]."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    grid = [torch.tensor(axis.reshape(-1)) for axis in np.meshgrid(*[nodes] * variables)]
    log_weights = np.log(weights / weights.sum())
    return grid, torch.tensor(sum(np.meshgrid(*[log_weights] * variables)).reshape(-1))


def with_nodes(terms: Mapping[str, Term], log_weight: Tensor, knobs: Knobs) -> tuple[dict[str, Term], Knobs]:
    """Terms whose outermost axis holds nodes of a quadrature: in the objective an enumerated variable of known probability."""
    dimensions = max(term.log_p.dim() for term in terms.values())
    node = log_weight.reshape(-1, *(1,) * (dimensions - 1))
    return {"node": Term(node, log_cell=node), **terms}, Knobs(knobs.alpha, {**knobs.beta, "node": torch.tensor(1.0)})
