"""The proof that a spec compiles to a correct estimator: random specs against exact sums.

    python tests/proof.py --specs 500 --seed 1000

Of each spec's model, at random weights and on rows with every pattern of labels, the value, the gradient and the log-evidence
are compared with `proof_oracle`: to rounding where everything is enumerated, and within four standard errors of the mean over
replicated rows where something is drawn. A mean that falls outside is looked at again, on 25 times as many fresh rows.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
import yaml
from models import random_values
from proof_oracle import Oracle, Quantity, moved, slope
from proof_specs import flow, random_spec
from torch import Tensor

from graphvae.compiler.pipeline import compile_text
from graphvae.runtime import Block, Model, load
from graphvae.runtime.objectives import log_evidence

ROUNDING, ERRORS = 1e-9, 4.0  # what an exact check may be off, relative; and a sampled one, in standard errors
REPLICATES, AGAIN = 4000, 25
SPREAD = 0.7  # of random weights
SIDES = {"q": "encoder.", "p": "decoder."}


class Check(NamedTuple):
    """One comparison: how far off it is, in the unit of its kind, and whether that is from a second look."""

    kind: str
    labels: tuple[str, ...]
    error: float
    again: bool = False

    @property
    def allowed(self) -> float:
        return ROUNDING if self.kind.startswith("exact") else ERRORS

    @property
    def passed(self) -> bool:
        return self.error <= self.allowed


def prove(text: str, seed: int, replicates: int = REPLICATES) -> list[Check]:
    """Every check of a spec: with all enumerated, if that can be, and as it stands, if it draws anything.

    Double precision must be torch's default.
    """
    checks, oracle = [], Oracle(text)
    if not any(map(oracle.is_normal, oracle.inferred)):
        checks += Case(with_gradient(text, "enumerate"), seed).exact()
    if len(oracle.enumerated(oracle.inferred)) < len(oracle.inferred):
        checks += looked_into(Case(text, seed), replicates)
    return checks


def looked_into(case: Case, replicates: int) -> list[Check]:
    """The sampled checks, where one fails with its result on far more rows."""
    checks = case.sampled(replicates, rounds=1)
    if all(check.passed for check in checks):
        return checks
    second = case.sampled(replicates, rounds=AGAIN)
    return [check if check.passed else fresh._replace(again=True) for check, fresh in zip(checks, second, strict=True)]


def with_gradient(text: str, gradient: str) -> str:
    """A spec in which q draws every random variable in one way."""
    lines, spec = text.splitlines(), yaml.safe_load(text)
    begin = lines.index("q:") + 1
    for index, (name, block) in enumerate(spec["q"].items(), start=begin):
        if name in spec["variables"]:
            lines[index] = f"  {name}: {flow(block | {'gradient': gradient})}"
    return "\n".join(lines)


@dataclass(frozen=True)
class Case:
    """The model of a spec at random weights, two rows of data for every pattern of labels, and what the oracle says of them."""

    text: str
    seed: int

    @cached_property
    def oracle(self) -> Oracle:
        return Oracle(self.text)

    @cached_property
    def generator(self) -> torch.Generator:
        """Of the noise."""
        return torch.Generator().manual_seed(self.seed)

    @cached_property
    def model(self) -> Model:
        made = load(compile_text(self.text, "random.yaml").code, "random")()
        generator = torch.Generator().manual_seed(self.seed)
        made.load_state_dict({n: SPREAD * torch.randn(v.shape, generator=generator) for n, v in made.state_dict().items()})
        return made.eval()

    @cached_property
    def directions(self) -> dict[str, dict[str, Tensor]]:
        """For each side that has weights, one direction in which they may move."""
        generator, state = torch.Generator().manual_seed(self.seed + 1), self.model.state_dict()
        parts = {side: [name for name in state if name.startswith(prefix)] for side, prefix in SIDES.items()}
        return {s: {n: torch.randn(state[n].shape, generator=generator) for n in names} for s, names in parts.items() if names}

    @cached_property
    def data(self) -> dict[tuple[str, ...], dict[str, Tensor]]:
        """For each set of labels that a row may know, two such rows."""
        labels, generator = self.oracle.labels, torch.Generator().manual_seed(self.seed + 2)
        patterns = product(*([(), (name,)] for name in labels))
        return {known: self.rows(known, generator) for known in (sum(pattern, ()) for pattern in patterns)}

    def rows(self, known: Sequence[str], generator: torch.Generator) -> dict[str, Tensor]:
        """Two rows of all that is observed or given, with some elements missing where they may, and of some labels."""
        made = {}
        for name, variable in self.model.variables.items():
            if variable.role in ("observed", "given") or name in known:
                value = random_values(variable, 2, generator)
                hidden = torch.rand(value.shape, generator=generator) < (0.4 if variable.masked else 0.0)
                made[name] = value.masked_fill(hidden, missing(value))
        return made

    def mixed(self, groups: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """All groups as one table, in which a label is missing where its group does not have it."""
        rows = [len(next(iter(group.values()))) for group in groups]
        full = {name: value for group in groups for name, value in group.items()}
        return {
            name: torch.cat(
                [group.get(name, torch.full((n, *like.shape[1:]), missing(like))) for group, n in zip(groups, rows, strict=True)]
            )
            for name, like in full.items()
        }

    # Everything enumerated.

    def exact(self) -> list[Check]:
        """One block for all rows, and a block for every pattern, against the oracle: nothing is left to chance."""
        groups, knobs = list(self.data.values()), self.model.knobs(self.oracle.objective["alpha"], self.oracle.objective["beta"])
        bound = self.model([self.model.block(self.mixed(groups), 1, self.generator)], knobs).bound
        apart = self.model([self.model.block(group, 1, self.generator) for group in groups], knobs).bound
        evidence = self.model.log_evidence(self.mixed(groups), 1, self.generator)
        made = {"value": bound, "value in blocks": apart, "log p": evidence.value}
        made |= {f"gradient of {side}": value for side, value in self.slopes(bound).items()}
        truth = self.truth(1, rows=2)
        return [
            Check(f"exact {kind}", known, float(worst))
            for kind, value in made.items()
            for known, worst in zip(self.data, relative(value.detach().numpy(), truth[kind]).reshape(-1, 2).max(1), strict=True)
        ]

    # Something drawn.

    @cached_property
    def samples(self) -> int:
        """As many samples as the spec says, or as the oracle has room for, 0 if it has none."""
        wanted = range(self.oracle.objective["samples"], 0, -1)
        return next((s for s in wanted if all(self.oracle.nodes(known, s) for known in self.data)), 0)

    def sampled(self, replicates: int, rounds: int) -> list[Check]:
        """The means over replicates of one row a pattern, in standard errors off the expectation."""
        if not self.samples:
            return []
        groups = [{name: value[:1].repeat_interleave(replicates, 0) for name, value in g.items()} for g in self.data.values()]
        total, square, truth = defaultdict[str, np.ndarray](float), defaultdict[str, np.ndarray](float), self.truth(self.samples, 1)
        for _ in range(rounds):
            for kind, value in self.estimates(groups).items():
                off = value.reshape(len(groups), -1).detach().numpy() - truth[kind][:, None]
                total[kind], square[kind] = total[kind] + off.mean(1), square[kind] + (off**2).mean(1)
        checks = []
        for kind, sums in total.items():
            mean, second = sums / rounds, square[kind] / rounds
            error = np.sqrt((second - mean**2).clip(0) / (rounds * replicates))
            least = 1e-10 * np.maximum(1, np.abs(truth[kind]))
            checks += [Check(f"mean {kind}", k, float(e)) for k, e in zip(self.data, np.abs(mean) / np.maximum(error, least), strict=True)]
        return checks

    def estimates(self, groups: Sequence[Mapping[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        ...
