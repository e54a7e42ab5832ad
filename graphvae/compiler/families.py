"""The families of distributions, a row each: what the compiler must know to check, plan and emit.

How a family computes stands in `graphvae.runtime`; a test proves the two tables equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

Link = Literal["identity", "positive", "unit"]
Gradient = Literal["reparameterised", "enumerate", "concrete", "straight_through", "score_function"]
Support = Literal[
    "real", "positive", "unit interval", "angle", "simplex", "binary", "categories", "counts", "counts to a total", "levels"
]
Layout = Literal["event", "element", "components", "component vectors", "square", "factor"]

POSITIVE_FLOOR = 1e-6
SUPERVISED_FLOOR = 1e-2  # a labelled density may not collapse onto its labels: neither a scale below this,
NARROW = SUPERVISED_FLOOR**-2  # nor a concentration above this, whose inverse root is such a scale
INFINITY = float("inf")


@dataclass(frozen=True)
class Parameter:
    """One parameter: its value in the standard prior, the link from a head to it, and the interval it lies in.

    The interval is open, or `closed`. `layout` says how its shape follows from that of the event. `default` is where it comes
    from in a conditional with parents that does not say: a head of the network, or one learned value for all rows. `spread`
    says that a learned value must not begin at the same number everywhere. `ceiling` bounds the head of a supervised variable
    in q where a large number makes the density narrow, as SUPERVISED_FLOOR does where a small one does.
    """

    name: str
    standard: float
    link: Link = "identity"
    low: float = -INFINITY
    high: float = INFINITY
    closed: bool = False
    ceiling: float = INFINITY
    layout: Layout = "event"
    default: Literal["head", "learned"] = "head"
    spread: bool = False

    def shape(self, event: tuple[int, ...], number: int) -> tuple[int, ...]:
        """The shape for a value of this event shape; `number` is the family's own (components, rank)."""
        shapes: dict[Layout, tuple[int, ...]] = {
            "event": event,
            "element": event[:-1],
            "components": (*event[:-1], number),
            "component vectors": (*event[:-1], number, *event[-1:]),
            "square": (*event, *event[-1:]),
            "factor": (*event, number),
        }
        return shapes[self.layout]

    def allows(self, value: float) -> bool:
        """Whether a number lies in the interval."""
        return self.low <= value <= self.high if self.closed else self.low < value < self.high


@dataclass(frozen=True)
class Number:
    """A whole number that belongs to the variable and not to a conditional, such as a total count.

    `default` is None where it must be written. `argument` says that the class takes it beside its parameters.
    """

    name: str
    default: int | None
    least: int
    argument: bool


@dataclass(frozen=True)
class Family:
    """One row.

    `parameters` are the heads of a network, in their order. `gradients` are the ways in which q can draw, the preferred one
    first; `implicit` says that the reparameterised gradient is implicit (Figurnov et al. 2018). `spellings` are other names
    under which a number may be given (`probs` for `logits`). `simplex` says that a value is one of `categories` cells, one-hot
    inside the model. `vector` says that the last dimension of a value is one element. `tensors` says that constant parameters
    must have their full shape. `closed_kl` are the families of p against which the KL divergence has a closed form. `soft` and
    `number` are keys of a variable that apply to this family alone.
    """

    name: str
    distribution: str
    support: Support
    parameters: tuple[Parameter, ...]
    gradients: tuple[Gradient, ...]
    spellings: tuple[tuple[Parameter, str], ...] = ()
    implicit: bool = False
    simplex: bool = False
    vector: bool = False
    tensors: bool = False
    closed_kl: tuple[str, ...] = ()
    soft: bool = False
    number: Number | None = None

    @property
    def finite(self) -> bool:
        """Whether its values can be enumerated."""
        return "enumerate" in self.gradients

    @property
    def discrete(self) -> bool:
        return "reparameterised" not in self.gradients

    @property
    def joint(self) -> int:
        """How many trailing dimensions of a value are one element."""
        return int(self.simplex or self.vector)

    @property
    def options(self) -> tuple[str, ...]:
        """The keys of a variable that apply to this family."""
        return ("categories",) * self.simplex + ("soft",) * self.soft + ((self.number.name,) if self.number else ())

    def cells(self, event: tuple[int, ...], number: int) -> tuple[int, int]:
        """How many values an enumerated variable has, as a base and a power, which may be huge."""
        if self.simplex:
            return event[-1], prod(event[:-1])
        return {"binary": 2, "counts to a total": number + 1}.get(self.support, number), prod(event)

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name, or of the name it may be spelled by."""
        rows = [*self.parameters, *(spelled for spelled, _ in self.spellings)]
        return next((row for row in rows if row.name == name), None)

    def head(self, name: str) -> str:
        """The head that a parameter's name sets: its own, or that of the parameter it spells."""
        return next((head for spelled, head in self.spellings if spelled.name == name), name)


_LOC, _SCALE = Parameter("loc", standard=0.0), Parameter("scale", standard=1.0, link="positive", low=0.0)
_LOGITS = Parameter("logits", standard=0.0)
_PROBS = (Parameter("probs", standard=0.5, low=0.0, high=1.0), "logits")
_GATE_LOGITS = Parameter("gate_logits", standard=0.0)
_GATE = (Parameter("gate", standard=0.5, low=0.0, high=1.0), "gate_logits")
_TOTAL = Number("total_count", default=None, least=1, argument=True)

_CONTINUOUS: tuple[Gradient, ...] = ("reparameterised", "score_function")
_RELAXED: tuple[Gradient, ...] = ("enumerate", "concrete", "straight_through", "score_function")
_FINITE: tuple[Gradient, ...] = ("enumerate", "score_function")
_COUNTS: tuple[Gradient, ...] = ("score_function",)


def _positive(name: str, ceiling: float = INFINITY) -> Parameter:
    return Parameter(name, standard=1.0, link="positive", low=0.0, ceiling=ceiling)


FAMILIES = {
    family.name: family
    for family in (
        Family("normal", "Normal", "real", (_LOC, _SCALE), _CONTINUOUS, closed_kl=("normal",)),
        Family("laplace", "Laplace", "real", (_LOC, _SCALE), _CONTINUOUS, closed_kl=("laplace",)),
        Family("cauchy", "Cauchy", "real", (_LOC, _SCALE), _CONTINUOUS, closed_kl=("cauchy",)),
        Family("logistic", "Logistic", "real", (_LOC, _SCALE), _CONTINUOUS),
        Family(
            name="student_t",
            distribution="StudentT",
            support="real",
            parameters=(Parameter("df", 4.0, link="positive", low=0.0, default="learned"), _LOC, _SCALE),
            gradients=_CONTINUOUS,
            implicit=True,
        ),
        Family("log_normal", "LogNormal", "positive", (_LOC, _SCALE), _CONTINUOUS, closed_kl=("log_normal",)),
        Family("half_normal", "HalfNormal", "positive", (_SCALE,), _CONTINUOUS, closed_kl=("half_normal",)),
        Family("exponential", "Exponential", "positive", (_positive("rate"),), _CONTINUOUS, closed_kl=("exponential", "gamma")),
        Family("weibull", "Weibull", "positive", (_SCALE, _positive("concentration", 1 / SUPERVISED_FLOOR)), _CONTINUOUS),
        Family(
            name="gamma",
            distribution="Gamma",
            support="positive",
            parameters=(_positive("concentration", NARROW), _positive("rate")),
            gradients=_CONTINUOUS,
            implicit=True,
            closed_kl=("gamma", "exponential"),
        ),
        Family(
            name="beta",
            distribution="Beta",
            support="unit interval",
            parameters=(_positive("concentration1", NARROW), _positive("concentration0", NARROW)),
            gradients=_CONTINUOUS,
            implicit=True,
            closed_kl=("beta",),
        ),
        Family(
            name="uniform",
            distribution="Uniform",
            support="unit interval",
            parameters=(
                Parameter("low", 0.0, link="unit", low=0.0, high=1.0, closed=True, spread=True),
                Parameter("high", 1.0, link="unit", low=0.0, high=1.0, closed=True, spread=True),
            ),
            gradients=_CONTINUOUS,
        ),
        Family(
            name="continuous_bernoulli",
            distribution="ContinuousBernoulli",
            support="unit interval",
            parameters=(_LOGITS,),
            gradients=_CONTINUOUS,
            spellings=(_PROBS,),
            closed_kl=("continuous_bernoulli",),
        ),
        Family(
            name="von_mises",
            distribution="VonMises",
            support="angle",
            parameters=(_LOC, _positive("concentration", NARROW)),
            gradients=_CONTINUOUS,
            implicit=True,
        ),
        Family(
            name="dirichlet",
            distribution="Dirichlet",
            support="simplex",
            parameters=(_positive("concentration", NARROW),),
            gradients=_CONTINUOUS,
            implicit=True,
            vector=True,
            tensors=True,
            closed_kl=("dirichlet",),
        ),
        Family(
            name="multivariate_normal",
            distribution="MultivariateNormal",
            support="real",
            parameters=(_LOC, _SCALE, Parameter("below", 0.0, layout="square")),
            gradients=_CONTINUOUS,
            vector=True,
            tensors=True,
            closed_kl=("multivariate_normal", "low_rank_normal"),
        ),
        Family(
            name="low_rank_normal",
            distribution="LowRankNormal",
            support="real",
            parameters=(_LOC, _SCALE, Parameter("factor", 0.0, layout="factor", spread=True)),
            gradients=_CONTINUOUS,
            vector=True,
            tensors=True,
            closed_kl=("multivariate_normal", "low_rank_normal"),
            number=Number("rank", default=None, least=1, argument=False),
        ),
        Family(
            name="mixture_of_normals",
            distribution="MixtureOfNormals",
            support="real",
            parameters=(
                Parameter("logits", 0.0, layout="components"),
                Parameter("loc", 0.0, layout="component vectors", spread=True),
                Parameter("scale", 1.0, link="positive", low=0.0, layout="component vectors"),
            ),
            gradients=_CONTINUOUS,
            implicit=True,
            vector=True,
            tensors=True,
            number=Number("components", default=None, least=1, argument=False),
        ),
        Family(
            name="bernoulli",
            distribution="Bernoulli",
            support="binary",
            parameters=(_LOGITS,),
            gradients=_RELAXED,
            spellings=(_PROBS,),
            tensors=True,
            closed_kl=("bernoulli",),
            soft=True,
        ),
        Family(
            name="categorical",
            distribution="Categorical",
            support="categories",
            parameters=(_LOGITS,),
            gradients=_RELAXED,
            simplex=True,
            tensors=True,
            closed_kl=("categorical", "ordinal"),
        ),
        Family(
            name="ordinal",
            distribution="Ordinal",
            support="categories",
            parameters=(Parameter("loc", 0.0, layout="element"), Parameter("logits", 0.0, default="learned")),
            gradients=_RELAXED,
            simplex=True,
            tensors=True,
            closed_kl=("categorical", "ordinal"),
        ),
        Family(
            name="binomial",
            distribution="Binomial",
            support="counts to a total",
            parameters=(_LOGITS,),
            gradients=_FINITE,
            spellings=(_PROBS,),
            tensors=True,
            closed_kl=("binomial",),
            number=_TOTAL,
        ),
        Family("poisson", "Poisson", "counts", (_positive("rate"),), _COUNTS, closed_kl=("poisson",)),
        Family(
            name="geometric",
            distribution="Geometric",
            support="counts",
            parameters=(_LOGITS,),
            gradients=_COUNTS,
            spellings=(_PROBS,),
            closed_kl=("geometric",),
        ),
        Family(
            name="negative_binomial",
            distribution="NegativeBinomial",
            support="counts",
            parameters=(
                Parameter("total_count", 1.0, link="positive", low=0.0, default="learned"),
                _LOGITS,
            ),
            gradients=_COUNTS,
            spellings=(_PROBS,),
        ),
        Family(
            name="zero_inflated_poisson",
            distribution="ZeroInflatedPoisson",
            support="counts",
            parameters=(_GATE_LOGITS, _positive("rate")),
            gradients=_COUNTS,
            spellings=(_GATE,),
        ),
        Family(
            name="zero_inflated_negative_binomial",
            distribution="ZeroInflatedNegativeBinomial",
            support="counts",
            parameters=(
                _GATE_LOGITS,
                Parameter("total_count", 1.0, link="positive", low=0.0, default="learned"),
                _LOGITS,
            ),
            gradients=_COUNTS,
            spellings=(_GATE, _PROBS),
        ),
        Family(
            name="discretised_logistic",
            distribution="DiscretisedLogistic",
            support="levels",
            parameters=(Parameter("loc", 0.5), Parameter("scale", 0.2, link="positive", low=0.0)),
            gradients=_FINITE,
            tensors=True,
            number=Number("levels", default=256, least=2, argument=True),
        ),
    )
}
