"""The families of distributions, a row each: what the compiler must know to check, plan and emit.

How a family computes stands in `graphvae.runtime.distributions`; a test proves the two tables equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

Link = Literal["identity", "positive"]
Gradient = Literal["reparameterised", "enumerate"]

POSITIVE_FLOOR = 1e-6
SUPERVISED_FLOOR = 1e-2  # a labelled density may not collapse onto its labels
INFINITY = float("inf")


@dataclass(frozen=True)
class Parameter:
    """One parameter: its value in the standard prior, the link from a head to it, and the open interval it lies in."""

    name: str
    standard: float
    link: Link = "identity"
    low: float = -INFINITY
    high: float = INFINITY


@dataclass(frozen=True)
class Family:
    """One row.

    `parameters` are the heads of a network, in their order. `spellings` are other names under which a number may be given
    (`probs` for `logits`). `simplex` says that a value is one of `categories` cells, one-hot inside the model. `options` are
    keys of a variable that apply to this family alone.
    """

    name: str
    distribution: str
    support: Literal["real", "binary", "unit interval", "categories"]
    parameters: tuple[Parameter, ...]
    gradients: tuple[Gradient, ...]
    spellings: tuple[tuple[Parameter, str], ...] = ()
    options: tuple[str, ...] = ()
    simplex: bool = False

    @property
    def discrete(self) -> bool:
        return "enumerate" in self.gradients

    def cells(self, event: tuple[int, ...]) -> tuple[int, int]:
        """How many values an enumerated variable of this event shape has, as a base and a power, which may be huge."""
        return (event[-1], prod(event[:-1])) if self.simplex else (2, prod(event))

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name, or of the name it may be spelled by."""
        rows = [*self.parameters, *(spelled for spelled, _ in self.spellings)]
        return next((row for row in rows if row.name == name), None)

    def head(self, name: str) -> str:
        """The head that a parameter's name sets: its own, or that of the parameter it spells."""
        return next((head for spelled, head in self.spellings if spelled.name == name), name)


_LOGITS = Parameter("logits", standard=0.0)
_PROBS = (Parameter("probs", standard=0.5, low=0.0, high=1.0), "logits")

FAMILIES = {
    family.name: family
    for family in (
        Family(
            name="normal",
            distribution="Normal",
            support="real",
            parameters=(Parameter("loc", standard=0.0), Parameter("scale", standard=1.0, link="positive", low=0.0)),
            gradients=("reparameterised",),
        ),
        Family(
            name="bernoulli",
            distribution="Bernoulli",
            support="binary",
            parameters=(_LOGITS,),
            gradients=("enumerate",),
            spellings=(_PROBS,),
            options=("soft",),
        ),
        Family(
            name="continuous_bernoulli",
            distribution="ContinuousBernoulli",
            support="unit interval",
            parameters=(_LOGITS,),
            gradients=("reparameterised",),
            spellings=(_PROBS,),
        ),
        Family(
            name="categorical",
            distribution="Categorical",
            support="categories",
            parameters=(_LOGITS,),
            gradients=("enumerate",),
            options=("categories",),
            simplex=True,
        ),
    )
}
