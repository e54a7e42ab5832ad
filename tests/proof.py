"""The proof that a spec compiles to a correct estimator: random specs against exact sums.

    python tests/proof.py --specs 500 --seed 1000

Of each spec's model, at random weights and on rows with every pattern of labels, the value, the gradient and the log-evidence
are compared with `proof_oracle`: to rounding where everything is enumerated, and within four standard errors of the mean over
replicated rows where something is drawn. A mean that falls outside is looked at again, on 25 times as many fresh rows. With
`--plates` the specs have plates, counts and loops, and are compared to rounding, as `proof_plates` says.
"""

from __future__ import annotations

import argparse
import time
import traceback
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
from proof_plates import PlateCheck, features, prove_plates, random_weights
from proof_specs import flow, random_plate_spec, random_spec, written_out
from torch import Tensor

from graphvae.compiler.pipeline import compile_text
from graphvae.runtime import Model, load

ROUNDING, ERRORS = 1e-9, 4.0  # what an exact check may be off, relative; and a sampled one, in standard errors
REPLICATES, AGAIN = 4000, 25
SIDES = {"q": "encoder.", "p": "decoder."}
MISSING = 0.4  # the share of the elements of an observed variable that may be
COARSE, UNSURE = 0.75, 0.25  # a sum with that share of the nodes and no rare draws may differ by so many standard errors
PARTS = 40  # of the rows, for a gradient that is not differentiable itself

Labels = tuple[str, ...]


class Check(NamedTuple):
    """One comparison: how far off it is, in the unit of its kind; whether that is from a second look; whether it counts."""

    kind: str
    labels: Labels
    error: float
    again: bool = False
    resolved: bool = True

    @property
    def allowed(self) -> float:
        return ROUNDING if self.kind.startswith("exact") else ERRORS

    @property
    def passed(self) -> bool:
        return self.error <= self.allowed or not self.resolved


def prove(text: str, seed: int, replicates: int = REPLICATES) -> list[Check]:
    """Every check of a spec: with all enumerated, if that can be, and as it stands, if it draws anything.

    Double precision must be torch's default.
    """
    checks, oracle = [], Oracle(written_out(text))
    if not any(map(oracle.is_normal, oracle.inferred)):
        checks += Case(enumerated(text), seed).exact()
    if len(oracle.enumerated(oracle.inferred)) < len(oracle.inferred):
        checks += looked_into(Case(text, seed), replicates)
    return checks


def looked_into(case: Case, replicates: int) -> list[Check]:
    """The sampled checks, and where one fails its result on far more rows."""
    checks = case.sampled(replicates)
    if all(check.passed for check in checks):
        return checks
    second = case.sampled(replicates, rounds=AGAIN)
    return [check if check.passed else fresh._replace(again=True) for check, fresh in zip(checks, second, strict=True)]


def enumerated(text: str) -> str:
    """A spec whose q enumerates every variable."""
    lines, spec = text.splitlines(), yaml.safe_load(text)
    if "q" not in spec:
        return text  # whose rule enumerates what it can
    for index, (name, block) in enumerate(spec["q"].items(), start=lines.index("q:") + 1):
        if name in spec["variables"]:
            lines[index] = f"  {name}: {flow(block | {'gradient': 'enumerate'})}"
    return "\n".join(lines)


@dataclass(frozen=True)
class Case:
    """The model of a spec at random weights, two rows of data for every pattern of labels, and what the oracle says of them."""

    text: str
    seed: int

    @cached_property
    def oracle(self) -> Oracle:
        return Oracle(written_out(self.text))

    @cached_property
    def noise(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    @cached_property
    def model(self) -> Model:
        made = load(compile_text(self.text, "random.yaml").code, "random")()
        generator = torch.Generator().manual_seed(self.seed)
        made.load_state_dict({n: random_weights(v, generator) for n, v in made.state_dict().items()})
        return made.eval()

    @cached_property
    def directions(self) -> dict[str, dict[str, Tensor]]:
        """For each side that has weights, one direction in which they may move."""
        generator, weights = torch.Generator().manual_seed(self.seed + 1), dict(self.model.named_parameters())
        made = {}
        for side, prefix in SIDES.items():
            own = {name: value for name, value in weights.items() if name.startswith(prefix)}
            if own:
                made[side] = {name: torch.randn(value.shape, generator=generator) for name, value in own.items()}
        return made

    @cached_property
    def data(self) -> dict[Labels, dict[str, Tensor]]:
        """For each set of labels that a row may know, two such rows."""
        generator = torch.Generator().manual_seed(self.seed + 2)
        choices = product(*([(), (name,)] for name in self.oracle.labels))
        return {known: self.rows(known, generator) for known in (sum(choice, ()) for choice in choices)}

    def rows(self, known: Labels, generator: torch.Generator) -> dict[str, Tensor]:
        """Two rows of all that is observed or given, with some elements missing where they may, and of some labels."""
        made = {}
        for name, variable in self.model.variables.items():
            if variable.role in ("observed", "given") or name in known:
                value = random_values(variable, 2, generator)
                hidden = torch.rand(value.shape, generator=generator) < MISSING * variable.masked
                made[name] = value.masked_fill(hidden, missing(value))
        return made

    # What the model says.

    def estimates(self, groups: Sequence[Mapping[str, Tensor]], samples: int) -> dict[str, Tensor]:
        """By kind, a number for every row of all groups: of one block of them all, and of a block for each group."""
        knobs, table = self.model.knobs(self.oracle.objective["alpha"], self.oracle.objective["beta"]), mixed(groups)
        return {
            "value": self.model([self.model.block(table, samples, self.noise)], knobs).bound,
            "value in blocks": self.model([self.model.block(group, samples, self.noise) for group in groups], knobs).bound,
            "log p": self.model.log_evidence(table, samples, self.noise).value,
        }

    def slopes(self, bound: Tensor) -> dict[str, Tensor]:
        """The derivative of every row's bound [pattern, row] along each direction, by the backward pass of the backward pass.

        Where that has none (torch's cumulative log-sum-exp at a gradient of 0), the means over parts of the rows.
        """
        each = torch.ones_like(bound, requires_grad=True)
        along = self.along((each * bound).sum(), differentiable=True)
        found = {kind: torch.autograd.grad(value, each, retain_graph=True)[0] for kind, value in along.items()}
        return found if all(value.isfinite().all() for value in found.values()) else self.slopes_of_parts(bound, PARTS)

    def slopes_of_parts(self, bound: Tensor, parts: int) -> dict[str, Tensor]:
        """The derivative along each direction of the mean over parts of the rows, [pattern, part]."""
        found = [[self.along(part.mean()) for part in rows.chunk(parts)] for rows in bound]
        return {kind: torch.tensor([[part[kind].item() for part in row] for row in found]) for kind in found[0][0]}

    def along(self, value: Tensor, differentiable: bool = False) -> dict[str, Tensor]:
        """The derivative of one number along each direction."""
        names, weights = zip(*self.model.named_parameters(), strict=True)
        gradients = torch.autograd.grad(value, weights, retain_graph=True, create_graph=differentiable, allow_unused=True)
        pairs = [(name, gradient) for name, gradient in zip(names, gradients, strict=True) if gradient is not None]
        return {
            f"gradient of {side}": torch.stack([(gradient * way[name]).sum() for name, gradient in pairs if name in way]).sum()
            for side, way in self.directions.items()
        }

    # What the oracle says.

    def truth(self, rows: int, samples: int, share: float = 1.0, rarest: float = 0.0) -> dict[str, np.ndarray]:
        """By kind, the expectation for so many rows of every pattern, [pattern, row], with a share of the nodes."""
        found = defaultdict[str, list[list[float]]](list)
        weights = {name: value.numpy() for name, value in self.model.state_dict().items()}
        for known, group in self.data.items():
            columns = {name: value.numpy() for name, value in group.items()}
            nodes = int(share * self.oracle.nodes(known, samples))
            for side, direction in self.directions.items():
                step = moved(weights, {name: value.numpy() for name, value in direction.items()})
                worlds = self.oracle.worlds(step, columns, nodes)
                values = [self.oracle.expected(worlds, row, samples, "bound", rarest) for row in range(rows)]
                found[f"gradient of {side}"].append(list(map(slope, values)))
            evidence = [self.oracle.expected(worlds, row, samples, "log_evidence", rarest) for row in range(rows)]
            found["value"].append([value.real for value in values])
            found["log p"].append([value.real for value in evidence])
        found["value in blocks"] = found["value"]
        return {kind: np.array(values) for kind, values in found.items()}

    # The two compared.

    def exact(self) -> list[Check]:
        """How far what leaves nothing to chance is off, relative to numbers above 1."""
        made, checks, truth = self.estimates(list(self.data.values()), samples=1), [], self.truth(rows=2, samples=1)
        made = {kind: value.reshape(-1, 2) for kind, value in made.items()}
        for kind, value in (made | self.slopes_of_parts(made["value"], parts=2)).items():
            off = np.abs(value.detach().numpy() - truth[kind]) / np.maximum(1, np.abs(truth[kind]))
            checks += [Check(f"exact {kind}", known, float(worst)) for known, worst in zip(self.data, off.max(1), strict=True)]
        return checks

    def sampled(self, replicates: int, rounds: int = 1) -> list[Check]:
        """How many standard errors the mean over replicates of one row a pattern is off the expectation."""
        samples = self.oracle.samples
        truth, coarse = self.truth(1, samples), self.truth(1, samples, share=COARSE, rarest=1 / replicates)
        groups = [{name: value[:1].repeat_interleave(replicates, 0) for name, value in g.items()} for g in self.data.values()]
        moments = defaultdict[str, list[np.ndarray]](list)
        for _ in range(rounds):
            made = {k: value.reshape(len(groups), -1) for k, value in self.estimates(groups, samples).items()}
            for kind, value in (made | self.slopes(made["value"])).items():
                off = value.detach().numpy() - truth[kind]
                moments[kind].append(np.stack([off.mean(1), off.var(1) / off.shape[1]]))
        checks = []
        for kind, found in moments.items():
            mean, variance = np.mean(found, 0)
            least = ROUNDING / ERRORS * np.maximum(1, np.abs(truth[kind][:, 0]))
            error = np.abs(mean) / np.maximum(np.sqrt(variance / rounds), least)
            sure = np.abs(truth[kind] - coarse[kind])[:, 0] <= np.maximum(UNSURE * np.sqrt(variance), least)
            rows = zip(self.data, error, sure, strict=True)
            checks += [Check(f"mean {kind}", known, float(off), resolved=bool(counts)) for known, off, counts in rows]
        return checks


def mixed(groups: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """All groups of rows as one table, in which a label is missing where its group does not have it."""
    full = {name: value for group in groups for name, value in group.items()}
    rows = [len(next(iter(group.values()))) for group in groups]

    def column(name: str, like: Tensor) -> Tensor:
        absent = [torch.full((count, *like.shape[1:]), missing(like)) for count in rows]
        return torch.cat([group.get(name, empty) for group, empty in zip(groups, absent, strict=True)])

    return {name: column(name, value) for name, value in full.items()}


def missing(like: Tensor) -> float:
    """What stands in a table for what is missing."""
    return torch.nan if like.is_floating_point() else -1


def report(checks: Sequence[Check]) -> Iterator[str]:
    """A line for every kind of check."""
    kinds = defaultdict[str, list[Check]](list)
    for check in checks:
        kinds[check.kind].append(check)
    yield f"{'check':<24}{'number':>8}{'worst':>12}{'allowed':>10}{'second looks':>14}{'unresolved':>12}"
    for kind, found in sorted(kinds.items()):
        counting = [check for check in found if check.resolved]
        worst, again = max((check.error for check in counting), default=0.0), sum(check.again for check in found)
        row = f"{kind:<24}{len(counting):>8}{worst:>12.2g}{found[0].allowed:>10.2g}{again:>14}"
        yield f"{row}{len(found) - len(counting):>12}"


def proved(seed: int, refusals: Counter[str], replicates: int) -> tuple[list[Check], list[str]]:
    """The checks of one seed's spec, and if one fails or anything breaks, what to say of it."""
    try:
        text = random_spec(seed, refusals)
        checks = prove(text, seed, replicates)
    except Exception as error:
        return [], ["".join(traceback.format_exception(error))]
    wrong = [str(check) for check in checks if not check.passed]
    return checks, [*wrong, text] if wrong else []


def proved_plates(seed: int, refusals: Counter[str], built: Counter[str]) -> tuple[list[PlateCheck], list[str]]:
    """The same of a spec in plates; what it is made of is counted."""
    try:
        text = random_plate_spec(seed, refusals)
        built.update(features(text))
        checks = prove_plates(text, seed)
    except Exception as error:
        return [], ["".join(traceback.format_exception(error))]
    wrong = [str(check) for check in checks if not check.passed]
    return checks, [*wrong, text] if wrong else []


def report_plates(checks: Sequence[PlateCheck], built: Counter[str]) -> Iterator[str]:
    """A line for every kind of check, and for every construct the number of specs that have it."""
    for kind in sorted({check.kind for check in checks}):
        errors = [check.error for check in checks if check.kind == kind]
        yield f"{kind:<24}{len(errors):>8}{max(errors):>12.2g}"
    yield from (f"{count:>5} {construct}" for construct, count in built.most_common())


def main() -> None:
    """Prove a number of specs, and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--specs", type=int, default=100, help="how many specs")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first; the others follow")
    parser.add_argument("--replicates", type=int, default=REPLICATES, help="rows over which a mean is taken")
    parser.add_argument("--plates", action="store_true", help="specs in plates")
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    refusals, built, checks, slots = Counter[str](), Counter[str](), list[Check](), list[PlateCheck]()
    failed, begin = 0, time.process_time()
    for seed in range(options.seed, options.seed + options.specs):
        if options.plates:
            of_slots, complaint = proved_plates(seed, refusals, built)
            slots += of_slots
        else:
            found, complaint = proved(seed, refusals, options.replicates)
            checks += found
        failed += bool(complaint)
        if complaint:
            print(f"seed {seed}:", *complaint, sep="\n", flush=True)
    print(f"{options.specs} specs, {failed} of them wrong; {time.process_time() - begin:.0f} s")
    print("drawn again:", ", ".join(f"{why} {count}" for why, count in sorted(refusals.items())) or "-")
    print(*(report_plates(slots, built) if options.plates else report(checks)), sep="\n")


if __name__ == "__main__":
    main()
