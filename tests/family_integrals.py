"""Expectations over one element of a family under its reference: by enumeration, by summation, or by quadrature.

Between two ends the substitution x = a + (b - a) s(pi sinh t), s the logistic function, makes any density that is smooth there
fall off doubly exponentially, whatever it does at the ends; on a half-line x = a + exp(pi / 2 sinh t) does. The trapezoidal
rule in t is then exact to rounding (Takahasi and Mori 1974).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from family_cases import Case, generator
from torch import Tensor

ENDS = {
    "real": (-math.inf, math.inf),
    "positive": (0.0, math.inf),
    "unit interval": (0.0, 1.0),
    "simplex": (0.0, 1.0),
    "angle": (-math.pi, math.pi),
}
STEP = 0.03


def expectation(
    case: Case, parameters: Sequence[Tensor], function: Callable[[Tensor], Tensor], kinks: Sequence[float] = ()
) -> Tensor:
    """E[function(value)] over one element, of a function from values [n, element] to numbers [n].

    `kinks` are where a function of numbers is not smooth.
    """
    values, weights = lattice(case, parameters, kinks)
    share = weights * case.reference(*parameters).log_prob(values).exp()
    return torch.where(share > 0, share * function(values), 0.0).sum()


def lattice(case: Case, parameters: Sequence[Tensor], kinks: Sequence[float] = ()) -> tuple[Tensor, Tensor]:
    """Values [n, element], a vector having two coordinates, and their weights [n] in a sum over the support."""
    if case.discrete:
        values = case.build(parameters).cells() if case.finite else torch.arange(float(case.cutoff))
        return values, torch.ones(len(values))
    mean = case.build(parameters).mean.detach()
    if not case.joint:
        return rule(case.edges(*parameters) if case.edges else edges(case, mean, *kinks))
    axes = [rule(edges(case, middle)) for middle in mean]
    if case.family.support == "simplex":
        return torch.stack([axes[0][0], 1 - axes[0][0]], 1), axes[0][1]
    values, weights = (torch.cartesian_prod(*(axis[part] for axis in axes)) for part in (0, 1))
    return values, weights.prod(1)


def edges(case: Case, *inner: Tensor | float) -> Sequence[float]:
    """The ends of the support, and what lies between them."""
    return sorted({*ENDS[case.family.support], *map(float, inner)})


def rule(edges: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Nodes and weights for a function that is smooth between the edges, which may be infinite."""
    parts = [half_line(low, high) if math.inf in (high, -low) else interval(low, high) for low, high in pairwise(edges)]
    nodes, weights = zip(*parts, strict=True)
    return torch.cat(nodes), torch.cat(weights)


def interval(low: float, high: float) -> tuple[Tensor, Tensor]:
    time = torch.arange(-4.5, 4.5, STEP)
    inner = math.pi * time.sinh()
    weights = STEP * (high - low) * inner.sigmoid() * (-inner).sigmoid() * math.pi * time.cosh()
    last = math.nextafter(high, low)  # a node that rounds to the upper end could meet a pole there
    return (low + (high - low) * inner.sigmoid()).clamp_max(last), weights


def half_line(low: float, high: float) -> tuple[Tensor, Tensor]:
    time = torch.arange(-4.5, 4.5, STEP)
    distance = (math.pi / 2 * time.sinh()).exp()
    weights = STEP * distance * math.pi / 2 * time.cosh()
    return (low + distance if high == math.inf else high - distance), weights


def slopes(function: Callable[..., Tensor], parameters: Sequence[Tensor], step: float = 1e-3) -> list[tuple[Tensor, Tensor]]:
    """For each parameter a direction in its elements, and the derivative of a number along it, by five points."""
    source, found = generator(0), []
    for index, parameter in enumerate(parameters):
        signs = 1 - 2.0 * torch.randint(2, parameter.shape, generator=source)
        direction = signs * (0.5 + torch.rand(parameter.shape, generator=source))

        def moved(steps: int, index: int = index, direction: Tensor = direction) -> Tensor:
            plain = [other.detach() for other in parameters]
            return function(*plain[:index], plain[index] + steps * step * direction, *plain[index + 1 :])

        found.append((direction, (moved(-2) - 8 * moved(-1) + 8 * moved(1) - moved(2)) / (12 * step)))
    return found
