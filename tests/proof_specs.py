"""Random small specs as text: two graphs over a handful of variables, with every way to draw, label and hide them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from random import Random
from typing import Any

import yaml
from proof_oracle import Oracle

from graphvae.compiler.errors import UserError
from graphvae.compiler.pipeline import compile_text

Block = dict[str, Any]

TOO_LONG = "too long a sum"
WORLDS = 36  # of the finite variables together
LABELS = 3
FINITE: list[tuple[Block, int]] = [
    ({"distribution": "categorical", "categories": 2}, 2),
    ({"distribution": "categorical", "categories": 3}, 3),
    ({"distribution": "bernoulli"}, 2),
    ({"distribution": "binomial", "total_count": 1}, 2),
    ({"distribution": "ordinal", "categories": 2}, 2),
    ({"distribution": "bernoulli", "size": 2}, 4),
    ({"distribution": "ordinal", "categories": 3}, 3),
    ({"distribution": "binomial", "total_count": 2}, 3),
    ({"distribution": "discretised_logistic", "levels": 3}, 3),
]
OBSERVED: list[Block] = [
    {"distribution": "normal"},
    {"distribution": "normal", "size": 2},
    {"distribution": "laplace", "size": 2},
    {"distribution": "bernoulli", "size": 2},
    {"distribution": "categorical", "categories": 3},
    {"distribution": "ordinal", "categories": 3},
    {"distribution": "binomial", "total_count": 3},
    {"distribution": "poisson"},
]
GIVEN: list[Block] = [{"distribution": "normal"}, {"distribution": "categorical", "categories": 2}]
ACTIVATIONS = ("tanh", "softplus", "silu", "relu", "elu")
SCALED = ("normal", "laplace", "logistic", "discretised_logistic")
TRUNKS = {"p": "u", "q": "t"}


def random_spec(seed: int, refusals: Counter[str] | None = None) -> str:
    """The text of a spec that compiles and whose expectation is a short sum, the same for the same seed.

    `refusals` counts by code what had to be drawn again, and under `TOO_LONG` what the oracle has no room for.
    """
    random, refusals = Random(seed), Counter() if refusals is None else refusals
    while True:
        text = Author(random).text()
        try:
            compile_text(text, "random.yaml")
        except UserError as error:
            refusals.update(diagnostic.code for diagnostic in error.diagnostics)
            continue
        except Exception as error:
            error.add_note(text)
            raise
        if Oracle(text).samples:
            return text
        refusals[TOO_LONG] += 1


@dataclass
class Author:
    """Writes one spec, by chance alone: what does not fit together is the compiler's business."""

    random: Random
    variables: dict[str, Block] = field(default_factory=dict)
    number: str = ""
    """The one variable, if any, that q draws as a number."""
    bound: str = "self_normalised"

    def text(self) -> str:
        self.declare()
        self.bound = self.random.choices(["self_normalised", "importance", "importance_dreg"], (4, 2, 2 if self.number else 1))[
            0
        ]
        parts = {"variables": self.variables, "p": self.p(), "q": self.q()}
        lines = ["model: random"]
        for part, blocks in parts.items():
            lines += [f"{part}:", *(f"  {name}: {flow(block)}" for name, block in blocks.items())]
        return "\n".join([*lines, f"objective: {flow(self.objective())}", ""])

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def some(self, names: Sequence[str], probability: float = 0.5) -> list[str]:
        return [name for name in names if self.chance(probability)]

    def named(self, *roles: str) -> list[str]:
        return [name for name, block in self.variables.items() if block.get("role", "latent") in roles]

    @property
    def inferred(self) -> list[str]:
        return self.named("latent", "supervised")

    def declare(self) -> None:
        names = list("abcd")[: self.random.randint(2, 4)]
        if self.chance(0.4):
            names = names[:3]
            self.number = self.random.choice(names)
        counts: list[int] = []
        for left, name in zip(reversed(range(len(names))), names, strict=True):
            block, count = self.random.choice([entry for entry in FINITE if prod(counts) * entry[1] * 2**left <= WORLDS])
            if name == self.number:
                block, count = {"distribution": self.random.choice(["normal", "normal", "logistic"])}, 1
            counts.append(count)
            label = self.chance(0.5) and len(self.named("supervised")) < LABELS
            self.variables[name] = dict(block) | ({"role": "supervised"} if label else {})
        for name in ["x", "y"][: self.random.randint(1, 2)]:
            mask = {"missing": "mask"} if self.chance(0.3) else {}
            fitting = [block for block in OBSERVED if not self.number or block["distribution"] != "laplace"]  # it has an edge
            self.variables[name] = self.random.choice(fitting) | {"role": "observed"} | mask
        if self.chance(0.3):
            self.variables["g"] = self.random.choice(GIVEN) | {"role": "given"}

    def network(self, linear: bool = True) -> Block:
        """A network, and above a number one that is smooth and bounded, for the sake of the quadrature."""
        hidden = self.random.choice([[], [3], [3], [2, 2]] if linear else [[3], [2, 2]])
        return {"hidden": hidden} | ({"activation": self.activation()} if hidden else {})

    def activation(self) -> str:
        return "tanh" if self.number else self.random.choice(ACTIVATIONS)

    def trunk(self, parents: list[str]) -> Block:
        if self.chance(0.5):
            return {"parents": parents, "network": {"hidden": [3], "activation": self.activation()}}
        return {"parents": parents, "network": {"hidden": []}, "size": 2}

    def ordered(self, side: str, random_variables: list[str]) -> list[str]:
        """The variables of a side in an order that its arrows follow, sometimes with a trunk among them."""
        order = self.random.sample(random_variables, len(random_variables))
        if self.chance(0.3):
            order.insert(self.random.randint(0, len(order) - 1), TRUNKS[side])
        return order

    def p(self) -> dict[str, Block]:
        """Arrows may lead from what is observed to what is not, and from a label to a latent variable."""
        made: dict[str, Block] = {}
        before = self.named("given")
        for name in self.ordered("p", self.inferred + self.named("observed")):
            parents = self.some(before)
            if name == TRUNKS["p"]:
                if not parents:
                    continue
                made[name] = self.trunk(parents)
            elif parents or name not in self.inferred or self.chance(0.5):
                made[name] = self.conditional(name, parents, self.variables[name]["distribution"])
            if not self.variables.get(name, {}).get("missing") or self.chance(0.05):
                before = [*before, name]
        return made

    def q(self) -> dict[str, Block]:
        made: dict[str, Block] = {}
        before = self.named("given") + self.named("observed")
        how = self.random.choice(["enumerate", "score_function", "either", "either", "either"])
        how = "enumerate" if self.bound == "importance_dreg" else how  # which refuses any other
        for name in self.ordered("q", self.inferred):
            parents = self.some(before, 0.6)
            if name == TRUNKS["q"]:
                if not parents:
                    continue
                made[name] = self.trunk(parents)
            else:
                family = self.family(name)
                made[name] = self.conditional(name, parents, family)
                if family != self.variables[name]["distribution"]:
                    made[name]["distribution"] = family
                made[name] |= self.gradient(name, how)
            before = [*before, name]
        return {name: made[name] for name in sorted(made)}

    def family(self, name: str) -> str:
        """Sometimes another family over the same support; a number is normal."""
        own = str(self.variables[name]["distribution"])
        if name == self.number:
            return "normal"
        others = {"categorical": "ordinal", "ordinal": "categorical"}
        return others[own] if own in others and self.chance(0.3) else own

    def gradient(self, name: str, how: str) -> Block:
        if name == self.number:
            return {"gradient": "score_function"} if how != "enumerate" and self.chance(0.5) else {}
        chosen = self.random.choice(["enumerate", "score_function"]) if how == "either" else how
        by_rule = chosen == "enumerate" and self.bound == "self_normalised" and self.chance(0.3)
        return {} if by_rule else {"gradient": chosen}

    def conditional(self, name: str, parents: list[str], family: str) -> Block:
        made: Block = {}
        if family in SCALED and self.chance(0.4):
            made["parameters"] = {"scale": self.random.choice(["learned", 0.7])}
        if family == "ordinal" and parents and self.chance(0.3):
            made["parameters"] = {"logits": "head"}
        if family == "bernoulli" and not parents and self.chance(0.3):
            made["parameters"] = {"probs": 0.3}
        unbounded = self.number and family in SCALED and not made
        return ({"parents": parents, "network": self.network(linear=not unbounded)} if parents else {}) | made

    def objective(self) -> Block:
        return {
            "bound": self.bound,
            "samples": self.random.choice([1, 2, 2, 2, 3, 3]),
            "kl": self.random.choice(["sampled", "closed"]),
            "label_term": self.random.choice(["log_mean", "mean_log"]),
            "alpha": self.weights("supervised", 0.5),
            "beta": self.weights("latent", 1.0),
        }

    def weights(self, role: str, usual: float) -> float | dict[str, float]:
        """One number, or numbers by variable."""
        if self.chance(0.3):
            return usual
        own = {name: round(self.random.uniform(0.2, 2.0), 1) for name in self.some(self.named(role), 0.7)}
        return own or round(self.random.uniform(0.2, 2.0), 1)


def flow(block: Block) -> str:
    """A block on one line."""
    return yaml.safe_dump(block, sort_keys=False, default_flow_style=True, width=1000).strip()
