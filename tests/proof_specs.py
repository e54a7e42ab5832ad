"""Random small specs as text: two graphs over a handful of variables, with every way to draw, label and hide them.

`PlateAuthor` does the same in plates: with counts, nested plates, loops and pools.
"""

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
INSIDE: list[Block] = [
    {"distribution": "bernoulli"},
    {"distribution": "bernoulli"},
    {"distribution": "categorical", "categories": 2},
    {"distribution": "ordinal", "categories": 2},
    {"distribution": "normal"},
    {"distribution": "normal", "size": 2},
]
POOLS = ("sum", "mean", "max", "attention")
CELLS = 16  # of the enumerated variables of a spec in plates together
DERIVED = 0.25  # the share of the specs whose q leaves something out
UNKNOWN = ("score_function", "ordinal")  # which a rule may choose, as it may relax a draw, and no oracle knows
LOOP = 0.4  # the share of the specs that may read what was before


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
        if Oracle(written_out(text)).samples:
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
        return "\n".join(["model: random", *lines(parts), f"objective: {flow(self.objective())}", ""])

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

    def q(self) -> dict[str, Any]:
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
        kept = made if self.number else left_out(made)  # a default network is not smooth
        return {name: kept[name] for name in sorted(kept)}

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


def random_plate_spec(seed: int, refusals: Counter[str] | None = None) -> str:
    """The text of a spec in plates that compiles, with few enough cells to walk through each, the same for the same seed."""
    random, refusals = Random(seed), Counter() if refusals is None else refusals
    while True:
        text = PlateAuthor(random).text()
        try:
            plan = compile_text(text, "random.yaml").plan
        except UserError as error:
            refusals.update(diagnostic.code for diagnostic in error.diagnostics)
            continue
        except Exception as error:
            error.add_note(text)
            raise
        if all(draw.gradient != "concrete" and (draw.gradient, draw.family.name) != UNKNOWN for draw in plan.draws):
            return text


@dataclass
class PlateAuthor:
    """Writes one spec in plates, by chance alone."""

    random: Random
    plates: dict[str, Block] = field(default_factory=dict)
    variables: dict[str, Block] = field(default_factory=dict)
    loops: bool = False

    def text(self) -> str:
        self.loops = self.chance(LOOP)
        self.declare()
        bound = self.random.choices(["self_normalised", "importance", "importance_dreg"], (6, 2, 1))[0]
        parts = {"plates": self.plates, "variables": self.variables, "p": self.p(), "q": self.q(bound)}
        return "\n".join(["model: random", *lines(parts), f"objective: {flow(self.objective(bound))}", ""])

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def objective(self, bound: str) -> Block:
        return {
            "bound": bound,
            "samples": self.random.choice([1, 2, 2, 2]),
            "kl": self.random.choice(["sampled", "closed"]),
            "label_term": self.random.choice(["log_mean", "mean_log"]),
            "alpha": round(self.random.uniform(0.2, 2.0), 1),
            "beta": self.random.choice([1.0, round(self.random.uniform(0.2, 2.0), 1)]),
            "max_cells": CELLS,
        }

    # What there is.

    def declare(self) -> None:
        size = self.random.choice([1, 2, 2, 2, 3, 3])
        self.plates["s"] = {"size": size}
        if self.chance(0.25):
            self.plates = {"o": {"size": self.random.choice([1, 2])}, **self.plates}
        if self.chance(0.65):
            self.plates["s"]["active"] = "n"
            self.variables["n"] = self.count(size) | self.label(0.6)
        for name in ["a", "b"][: self.random.choice([1, 1, 2])]:
            self.variables[name] = self.random.choice(INSIDE) | self.placed(0.9) | self.label(0.4)
        if self.chance(0.5):
            self.variables["w"] = dict(self.random.choice(INSIDE)) | self.placed(0.2) | self.label(0.3)
        for name in ["x", "y"][: self.random.randint(1, 2)]:
            mask = {"missing": "mask"} if self.chance(0.3) else {}
            self.variables[name] = self.random.choice(OBSERVED) | self.placed(0.6) | {"role": "observed"} | mask
        if self.chance(0.3):
            self.variables["g"] = self.random.choice(GIVEN) | self.placed(0.5) | {"role": "given"}

    def count(self, size: int) -> Block:
        """A number of slots from 0 to the size, by a category or by itself."""
        whole: list[Block] = [
            {"distribution": "categorical", "categories": size + 1},
            {
                "distribution": "categorical",
                "values": sorted(self.random.sample(range(size + 1), self.random.randint(2, size + 1))),
            },
            {"distribution": "binomial", "total_count": size},
        ]
        return self.random.choice(whole)

    def placed(self, probability: float) -> Block:
        """Where a variable stands."""
        if not self.chance(probability):
            return {"plate": "o"} if "o" in self.plates and self.chance(0.2) else {}
        return {"plate": ["o", "s"]} if "o" in self.plates and self.chance(0.6) else {"plate": "s"}

    def label(self, probability: float) -> Block:
        return {"role": "supervised"} if self.chance(probability) else {}

    def named(self, *roles: str) -> list[str]:
        return [name for name, block in self.variables.items() if block.get("role", "latent") in roles]

    def plates_of(self, name: str) -> set[str]:
        plate = self.variables[name].get("plate", [])
        return {plate} if isinstance(plate, str) else set(plate)

    # How it hangs together.

    def p(self) -> dict[str, Block]:
        made, before = dict[str, Block](), self.named("given")
        for name in self.order(["latent", "supervised"]) + self.order(["observed"]):
            latent = name not in self.named("observed")
            if not latent or self.chance(0.6):
                made[name] = self.conditional(name, before, self.variables[name]["distribution"])
            before = [*before, name] if not self.variables[name].get("missing") else before
        return made

    def q(self, bound: str) -> dict[str, Any]:
        made, before = dict[str, Block](), self.named("given", "observed")
        how = self.random.choice(["enumerate", "either", "either"]) if bound != "importance_dreg" else "enumerate"
        if self.loops and self.chance(0.4):
            made["memory"] = self.memory([name for name in before if "o" not in self.plates_of(name)])
        for name in self.order(["latent", "supervised"]):
            inside = ["memory"] if "memory" in made and self.chance(0.5) else []
            made[name] = self.conditional(name, before, self.variables[name]["distribution"], inside)
            if self.variables[name]["distribution"] in ("bernoulli", "categorical") and how == "either" and self.chance(0.5):
                made[name]["gradient"] = "score_function"
            elif self.variables[name]["distribution"] != "normal":
                made[name]["gradient"] = "enumerate"
            before = [*before, name]
        return left_out(made)

    def order(self, roles: list[str]) -> list[str]:
        """Variables in any order, as a rule the count first."""
        names = self.random.sample(self.named(*roles), len(self.named(*roles)))
        return sorted(names, key=lambda name: name != "n") if self.chance(0.8) else names

    def memory(self, before: list[str]) -> Block:
        """A recurrent state from slot to slot."""
        parents = [*(name for name in before if self.chance(0.7)), "memory.previous"]
        start = {"initial": "learned"} if self.chance(0.5) else {}
        return {"plate": "s", "parents": parents, "network": {"kind": "gru", "size": 3}} | start

    def conditional(self, name: str, before: list[str], family: str, inside: Sequence[str] = ()) -> Block:
        """Parents here or in other plates, the index of a plate, and what was in the slot before."""
        parents = [*inside, *(parent for parent in before if self.chance(0.6))]
        parents += [plate for plate in sorted(self.plates_of(name)) if self.chance(0.25)]
        made: Block = {}
        if self.loops and "s" in self.plates_of(name):
            earlier = [other for other in [name, name, *before] if self.plates_of(other) == self.plates_of(name)]
            if earlier and self.chance(0.6):
                parents.append(f"{self.random.choice(earlier)}.previous")
                made = {"initial": "learned"} if parents[-1] == f"{name}.previous" and self.chance(0.5) else {}
        if family in SCALED and self.chance(0.3):
            made["parameters"] = {"scale": self.random.choice(["learned", 0.7])}
        if not parents:
            return made
        outside = set[str]().union(*(self.plates_of(parent) for parent in parents if parent in self.variables))
        gathers = (outside | ({"s"} if "memory" in parents else set())) - self.plates_of(name)
        pool = {"pool": self.random.choice(POOLS)} if gathers else {}
        network = {"hidden": self.random.choice([[3], [2, 2]]), "activation": self.random.choice(("tanh", "softplus", "silu"))}
        return {"parents": parents, "network": network | pool} | made


def left_out(q: dict[str, Block]) -> dict[str, Any]:
    """Sometimes q without its last conditionals, or without any, in one order of the inversion or the other."""
    random = Random(repr(q))
    if random.random() > DERIVED:
        return dict(q)
    kept = dict(list(q.items())[: random.randint(0, len(q) - 1)])
    return random.choice([{}, {"derive": "reverse"}, {"derive": "topological"}]) | kept


def written_out(text: str) -> str:
    """A spec with what it leaves out of q, for who can read and not derive."""
    spec, graph = yaml.safe_load(text), compile_text(text, "random.yaml").graph
    derived = yaml.safe_load(str(graph.spec))["q"]
    written = spec.get("q", {})
    spec["q"] = {name: written.get(name, derived[name]) for name in derived}
    return str(yaml.safe_dump(spec, sort_keys=False))


def lines(parts: dict[str, dict[str, Any]]) -> list[str]:
    """The blocks of every part, each on a line; a part that is empty is left out."""
    filled = {part: blocks for part, blocks in parts.items() if blocks}
    return [line for part in filled for line in (f"{part}:", *(f"  {k}: {flow(block)}" for k, block in filled[part].items()))]


def flow(block: object) -> str:
    """A block, or a word, on one line."""
    return yaml.safe_dump(block, sort_keys=False, default_flow_style=True, width=1000).strip().removesuffix("\n...")
