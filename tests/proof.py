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
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
import yaml
from models import random_values
from proof_oracle import Oracle, moved, slope
from proof_specs import flow, random_spec
from torch import Tensor

from graphvae.compiler.pipeline import compile_text
from graphvae.runtime import Model, load

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
                [
                    group.get(name, torch.full((n, *like.shape[1:]), missing(like)))
                    for group, n in zip(groups, rows, strict=True)
                ]
            )
            for name, like in full.items()
        }

    # What the model says, and what the oracle does.

    def estimates(self, groups: Sequence[Mapping[str, Tensor]], samples: int) -> dict[str, np.ndarray]:
        """By kind, the numbers of every row of all groups: as one block, and as a block for each group."""
        knobs, table = self.model.knobs(self.oracle.objective["alpha"], self.oracle.objective["beta"]), self.mixed(groups)
        bound = self.model([self.model.block(table, samples, self.generator)], knobs).bound
        apart = self.model([self.model.block(group, samples, self.generator) for group in groups], knobs).bound
        evidence = self.model.log_evidence(table, samples, self.generator)
        made = {"value": bound, "value in blocks": apart, "log p": evidence.value, **self.slopes(bound)}
        return {kind: value.detach().numpy() for kind, value in made.items()}

    def slopes(self, bound: Tensor) -> dict[str, Tensor]:
        """The derivative of every row's bound along each direction, by the backward pass of the backward pass."""
        names, weights = zip(*self.model.named_parameters(), strict=True)
        each = torch.ones_like(bound, requires_grad=True)
        gradients = torch.autograd.grad((each * bound).sum(), weights, create_graph=True, allow_unused=True)
        found = {}
        for side, direction in self.directions.items():
            parts = [
                (g * direction[n]).sum() for n, g in zip(names, gradients, strict=True) if n in direction and g is not None
            ]
            found[f"gradient of {side}"] = torch.autograd.grad(sum(parts), each, retain_graph=True)[0]
        return found

    def truth(self, rows: int, samples: int) -> dict[str, np.ndarray]:
        """By kind, the expectation for so many rows of every group."""
        found = defaultdict[str, list[float]](list)
        weights = {name: value.numpy() for name, value in self.model.state_dict().items()}
        for known, group in self.data.items():
            columns, nodes = {name: value.numpy() for name, value in group.items()}, self.oracle.nodes(known, samples)
            for side, direction in self.directions.items():
                step = moved(weights, {name: value.numpy() for name, value in direction.items()})
                worlds = self.oracle.worlds(step, columns, nodes)
                values = [self.oracle.expected(worlds, row, samples, "bound") for row in range(rows)]
                found[f"gradient of {side}"] += map(slope, values)
            found["value"] += [value.real for value in values]
            found["log p"] += [self.oracle.expected(worlds, row, samples, "log_evidence").real for row in range(rows)]
        return {kind: np.array(values) for kind, values in found.items()} | {"value in blocks": np.array(found["value"])}

    def exact(self) -> list[Check]:
        """How far what leaves nothing to chance is off, relative to numbers above 1."""
        made, truth = self.estimates(list(self.data.values()), samples=1), self.truth(rows=2, samples=1)
        off = {kind: np.abs(value - truth[kind]) / np.maximum(1, np.abs(truth[kind])) for kind, value in made.items()}
        return [
            Check(f"exact {kind}", known, float(worst))
            for kind, value in off.items()
            for known, worst in zip(self.data, value.reshape(-1, 2).max(1), strict=True)
        ]

    @cached_property
    def samples(self) -> int:
        """As many samples as the spec says, or as the oracle has room for; 0 where that is less than what the model takes."""
        least = 2 if any(self.oracle.gradient(name) == "score_function" for name in self.oracle.inferred) else 1
        wanted = range(self.oracle.objective["samples"], least - 1, -1)
        return next((s for s in wanted if all(self.oracle.nodes(known, s) for known in self.data)), 0)

    def sampled(self, replicates: int, rounds: int = 1) -> list[Check]:
        """How many standard errors the mean over replicates of one row a pattern is off the expectation."""
        if not self.samples:
            return []
        groups = [{name: value[:1].repeat_interleave(replicates, 0) for name, value in g.items()} for g in self.data.values()]
        truth, moments = self.truth(1, self.samples), defaultdict[str, list[np.ndarray]](list)
        for _ in range(rounds):
            for kind, value in self.estimates(groups, self.samples).items():
                off = value.reshape(len(groups), replicates) - truth[kind][:, None]
                moments[kind].append(np.stack([off.mean(1), (off**2).mean(1)]))
        checks = []
        for kind, found in moments.items():
            mean, square = np.mean(found, 0)
            error = np.sqrt((square - mean**2).clip(0) / (rounds * replicates))
            least = ROUNDING / ERRORS * np.maximum(1, np.abs(truth[kind]))
            worst = np.abs(mean) / np.maximum(error, least)
            checks += [Check(f"mean {kind}", known, float(off)) for known, off in zip(self.data, worst, strict=True)]
        return checks


def missing(like: Tensor) -> float:
    """What stands in a table for what is missing."""
    return torch.nan if like.is_floating_point() else -1


def report(checks: Sequence[Check]) -> Iterator[str]:
    """A line for every kind of check."""
    kinds = defaultdict[str, list[Check]](list)
    for check in checks:
        kinds[check.kind].append(check)
    yield f"{'check':<24}{'number':>8}{'worst':>12}{'allowed':>10}{'looked at again':>18}"
    for kind, found in sorted(kinds.items()):
        worst, again = max(check.error for check in found), sum(check.again for check in found)
        yield f"{kind:<24}{len(found):>8}{worst:>12.2g}{found[0].allowed:>10.2g}{again:>18}"


def main() -> None:
    """Prove a number of specs, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--specs", type=int, default=100, help="how many specs")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first; the others follow")
    parser.add_argument("--replicates", type=int, default=REPLICATES, help="rows over which a mean is taken")
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    refusals, checks, begin = Counter[str](), list[Check](), time.process_time()
    failed = alone = 0
    for seed in range(options.seed, options.seed + options.specs):
        text = random_spec(seed, refusals)
        made = prove(text, seed, options.replicates)
        checks += made
        alone += not made
        if wrong := [check for check in made if not check.passed]:
            failed += 1
            print(f"seed {seed}:", *wrong, text, sep="\n")
    print(f"{options.specs} specs, {failed} of them wrong, {alone} beyond the oracle; {time.process_time() - begin:.0f} s")
    print("refused, and drawn again:", ", ".join(f"{code} {count}" for code, count in sorted(refusals.items())) or "-")
    print(*report(checks), sep="\n")


if __name__ == "__main__":
    main()
