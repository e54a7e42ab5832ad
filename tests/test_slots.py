"""Plates in order, slot by slot: against a filter, a sum over every world, and the same model written out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from math import sqrt
from typing import Any

import family_cases
import family_cases_continuous
import family_cases_discrete
import numpy as np
import pytest
import torch
from by_hand import Side, by_hand, scalar, slopes
from family_cases import Case
from torch import Tensor, nn

from graphvae.compiler.pipeline import compile_text
from graphvae.runtime import (
    Bernoulli,
    Block,
    Categorical,
    Draws,
    Gru,
    Mlp,
    Model,
    MultivariateNormal,
    Normal,
    Variable,
    load,
)
from graphvae.runtime.objectives import log_cells
from graphvae.runtime.plates import stack_slots

pytestmark = pytest.mark.usefixtures("float64")

# A linear-Gaussian state-space model: z_t = A z_{t-1} + noise, of which c z_t is seen with noise.

STEPS, A, SPREAD, C, SEEN = (
    5,
    np.array([[0.9, 0.3], [-0.4, 0.7]]),
    np.array([[0.8, 0.0], [0.3, 0.5]]),
    np.array([1.0, -0.5]),
    0.6,
)
BEFORE = np.array([0.5, -1.0])


def kalman(x: np.ndarray) -> float:
    """Log p(x) by the filter, one prediction after the other."""
    mean, covariance, total = BEFORE, np.zeros((2, 2)), 0.0
    for seen in x:
        mean, covariance = A @ mean, A @ covariance @ A.T + SPREAD @ SPREAD.T
        variance = C @ covariance @ C + SEEN**2
        total += -0.5 * ((seen - C @ mean) ** 2 / variance + np.log(2 * np.pi * variance))
        gain = covariance @ C / variance
        mean, covariance = mean + gain * (seen - C @ mean), covariance - np.outer(gain, C @ covariance)
    return float(total)


def smoothed() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of p(z | x): the covariance over all steps, the slope of its mean in x, and the mean at x = 0."""
    precision, linear, pull = np.zeros((2 * STEPS,) * 2), np.zeros((2 * STEPS, STEPS)), np.zeros(2 * STEPS)
    inverse = np.linalg.inv(SPREAD @ SPREAD.T)
    for step in range(STEPS):
        here, before = slice(2 * step, 2 * step + 2), slice(2 * step - 2, 2 * step)
        precision[here, here] += inverse + np.outer(C, C) / SEEN**2
        linear[here, step] = C / SEEN**2
        if step:
            precision[before, before] += A.T @ inverse @ A
            precision[here, before] -= inverse @ A
            precision[before, here] -= (inverse @ A).T
        else:
            pull[here] = inverse @ A @ BEFORE
    covariance = np.linalg.inv(precision)
    return covariance, covariance @ linear, covariance @ pull


def multivariate(loc: Tensor, root: np.ndarray) -> MultivariateNormal:
    return MultivariateNormal(loc, torch.tensor(np.diag(root).copy()), torch.tensor(root))


def state_space() -> Model:
    """With the exact q(z_t | z_{t-1}, x), a normal density whose mean is linear in the state before."""
    covariance, slope, intercept = smoothed()
    gains, roots = np.zeros((STEPS, 2, 2)), np.zeros((STEPS, 2, 2))
    for step in range(STEPS):
        here, before = slice(2 * step, 2 * step + 2), slice(2 * step - 2, 2 * step)
        left = covariance[here, here]
        if step:
            gains[step] = covariance[here, before] @ np.linalg.inv(covariance[before, before])
            left = left - gains[step] @ covariance[before, here]
        roots[step] = np.linalg.cholesky(left)

    def q(self: Side, draw: Draws) -> None:
        means = (draw.given("x") @ torch.tensor(slope).T + torch.tensor(intercept)).unflatten(-1, (STEPS, 2))
        before, mean_before = torch.zeros(2), torch.zeros(2)
        for number, step in enumerate(draw.slots("step", size=STEPS)):
            mean = step.at(means, 1)
            loc = mean + (before - mean_before) @ step.at(torch.tensor(gains), 2).T
            before, mean_before = step.sample("z", multivariate(loc, roots[number])), mean

    def p(self: Side, draw: Draws) -> None:
        before = torch.tensor(BEFORE)
        for step in draw.slots("step", size=STEPS):
            before = step.sample("z", multivariate(before @ torch.tensor(A).T, SPREAD))
        draw.sample("x", Normal(draw.stack("z") @ torch.tensor(C), SEEN, event=0), plates={"step": STEPS})

    variables = {
        "z": Variable("latent", MultivariateNormal, (2,), plates={"step": STEPS}),
        "x": Variable("observed", Normal, (), plates={"step": STEPS}),
    }
    return by_hand(Side(q, unused=scalar(0.0)), Side(p), variables)


def test_the_exact_smoother_gives_log_p_of_the_filter() -> None:
    """Whatever the draws, and every importance weight is the same."""
    model, generator = state_space(), torch.Generator().manual_seed(0)
    x = torch.randn((3, STEPS), generator=generator)
    expected = torch.tensor([kalman(row) for row in x.numpy()])
    for _ in range(3):
        torch.testing.assert_close(model.objective({"x": x}, 1, generator), expected, rtol=0, atol=1e-10)
    evidence = model.log_evidence({"x": x}, 5, generator)
    torch.testing.assert_close(evidence.value, expected, rtol=0, atol=1e-10)
    assert (evidence.standard_error < 1e-10).all()
    q, _ = model.passes(model.block({"x": x}, 2, generator), model.knobs())
    assert q["z"].value.shape == (2, 3, STEPS, 2)


def test_the_posterior_mean_is_the_smoothed_one() -> None:
    model, generator = state_space(), torch.Generator().manual_seed(1)
    x = torch.randn((2, STEPS), generator=generator)
    covariance, slope, intercept = smoothed()
    found = model.predict({"x": x}, 20_000, generator)["z"].flatten(1)
    expected = x @ torch.tensor(slope).T + torch.tensor(intercept)
    assert ((found - expected).abs() < 4 * torch.tensor(np.diag(covariance)).sqrt() / sqrt(20_000)).all()


def test_generated_sequences_have_the_moments_of_the_model() -> None:
    """The covariance of what is seen in the first and the last step."""
    rows = 20_000
    x = state_space().sample(rows, generator=torch.Generator().manual_seed(2))["x"]
    states = [np.zeros((2, 2))]
    for _ in range(STEPS):
        states.append(A @ states[-1] @ A.T + SPREAD @ SPREAD.T)
    expected = C @ np.linalg.matrix_power(A, STEPS - 1) @ states[1] @ C
    products = (x[:, 0] - x[:, 0].mean()) * (x[:, -1] - x[:, -1].mean())
    assert (products.mean() - expected).abs() < 4 * products.std() / sqrt(rows)


# A discrete chain s_1 -> s_2 -> s_3, each with what is seen of it, in p and in q; every world can be counted out.

LENGTH, KINDS = 3, 2
TABLES = np.random.default_rng(3)
START_P, STEP_P = TABLES.dirichlet(np.ones(KINDS)), TABLES.dirichlet(np.ones(KINDS), KINDS)
SEEN_P = TABLES.dirichlet(np.ones(3), KINDS)  # [kind, what is seen]
START_Q, STEP_Q = TABLES.dirichlet(np.ones(KINDS), 3), TABLES.dirichlet(np.ones(KINDS), (KINDS, 3))  # [before, seen, kind]


def log(values: np.ndarray) -> Tensor:
    return torch.tensor(np.log(values))


def chain() -> Model:
    def q(self: Side, draw: Draws) -> None:
        seen, before = draw.given("x"), None
        for step in draw.slots("step", size=LENGTH):
            x = step.at(seen, 1)
            logits = x @ self.start if before is None else torch.einsum("...b,...x,bxk->...k", before, x, self.step)
            before = step.enumerate("s", Categorical(logits), axis=0)

    def p(self: Side, draw: Draws) -> None:
        before = None
        for step in draw.slots("step", size=LENGTH):
            before = step.sample("s", Categorical(self.start if before is None else before @ self.step))
        draw.sample("x", Categorical(draw.stack("s") @ self.seen), plates={"step": LENGTH})

    variables = {
        "s": Variable("supervised", Categorical, (KINDS,), enumerated=True, plates={"step": LENGTH}),
        "x": Variable("observed", Categorical, (3,), plates={"step": LENGTH}),
    }
    encoder = Side(q, start=log(START_Q), step=log(STEP_Q))
    return by_hand(encoder, Side(p, start=log(START_P), step=log(STEP_P), seen=log(SEEN_P)), variables)


def chain_truth(x: tuple[int, ...], labels: Mapping[int, int]) -> tuple[float, float, np.ndarray, np.ndarray]:
    """The bound at alpha 2, log p of what is known, and the probabilities of the second kind under q and p in each step.

    A label behind an unknown step has weights that differ from world to world.
    """
    free, label, log_p, inside = [], [], [], []
    for world in product(range(KINDS), repeat=LENGTH):
        if any(world[step] != kind for step, kind in labels.items()):
            continue
        start, steps = np.log(START_Q[x[0], world[0]]), [np.log(STEP_Q[world[t - 1], x[t], world[t]]) for t in range(1, LENGTH)]
        log_q = np.array([start, *steps])
        known = np.array([step in labels for step in range(LENGTH)])
        free.append(log_q[~known].sum())
        label.append(log_q[known].sum())
        score = np.log(START_P[world[0]]) + sum(np.log(STEP_P[world[t - 1], world[t]]) for t in range(1, LENGTH))
        log_p.append(score + sum(np.log(SEEN_P[kind, seen]) for kind, seen in zip(world, x, strict=True)))
        inside.append(world)
    log_weight = np.array(free) + np.array(label)
    log_label = np.logaddexp.reduce(log_weight) - np.logaddexp.reduce(free)
    weight, evidence = np.exp(log_weight - np.logaddexp.reduce(log_weight)), np.logaddexp.reduce(log_p)
    bound = (weight * (np.array(log_p) - log_weight)).sum() + 3 * log_label
    return bound, evidence, weight @ np.array(inside), np.exp(np.array(log_p) - evidence) @ np.array(inside)


CHAINS: list[tuple[tuple[int, ...], dict[int, int]]] = [
    ((0, 1, 2), {}),
    ((2, 2, 0), {0: 1}),
    ((1, 0, 1), {2: 0}),
    ((0, 0, 1), {0: 0, 2: 1}),
    ((2, 1, 0), {0: 1, 1: 1, 2: 0}),
]


@pytest.mark.parametrize("apart", [False, True])
def test_enumerated_steps_against_every_world(apart: bool) -> None:
    """A step that is labelled in some rows has masks; labels stand behind unknown steps, and weigh them."""
    model = chain()
    for rows in [[row] for row in CHAINS] if apart else [CHAINS]:
        s = torch.tensor([[labels.get(step, -1) for step in range(LENGTH)] for _, labels in rows])
        data, truths = {"x": torch.tensor([x for x, _ in rows]), "s": s}, [chain_truth(*row) for row in rows]
        bound = model.objective(data, 1, None, model.knobs(alpha=2.0))
        np.testing.assert_allclose(bound.detach(), [truth[0] for truth in truths], atol=1e-12)
        np.testing.assert_allclose(model.log_evidence(data, 1).value, [truth[1] for truth in truths], atol=1e-12)
        for by, place in (("q", 2), ("importance", 3)):
            found = model.predict(data, 1, None, by)["s"][..., 1]
            np.testing.assert_allclose(found, np.stack([truth[place] for truth in truths]), atol=1e-12)
        assert all(slope.isfinite().all() for slope in slopes(model, bound).values())


# The same model in a loop, and written out with a variable for each slot.

SLOTS = 3


def switching(looped: bool, p_looped: bool, mask: Tensor | None = None) -> Model:
    """A switch and two numbers in each slot, a memory that q carries along, and a label of the switch in some slots."""

    def each(draw: Draws, loop: bool) -> Iterator[tuple[int, Draws, Callable[[str], str], dict[str, int]]]:
        """Each slot: its record, its names, and how many slots have been before, each with an axis of its own."""
        if loop:
            yield from ((k, slot, lambda name: name, 0) for k, slot in enumerate(draw.slots("slot", size=SLOTS)))
        else:
            yield from ((k, draw, lambda name, k=k: f"{name}{k}", k) for k in range(SLOTS))

    def q(self: Side, draw: Draws) -> None:
        seen, memory, before = draw.given("x"), self.memory, torch.zeros(2, 1)
        kept = []
        for k, slot, name, axis in each(draw, looped):
            x = slot.at(seen, 0) if looped else seen[..., k]
            memory = self.gru(x=x, memory=memory)
            s = slot.enumerate(name("s"), Bernoulli(self.s(memory=memory), event=0), axis=axis)
            loc = self.z(memory=memory, s=s).unsqueeze(-1) + 0.3 * before
            before = slot.sample(name("z"), Normal(loc, self.scale.exp()), plates={"side": 2})
            slot.keep("memory", memory)
            kept.append(memory)
        memories = draw.stack("memory") if looped else torch.stack(torch.broadcast_tensors(*kept), -2)
        draw.sample("w", Normal(memories.sum((-2, -1)), 1.0, event=0))

    def p(self: Side, draw: Draws) -> None:
        w = draw.sample("w", Normal(0.0, 1.0, event=0))
        before, locs = self.first, []
        for _, slot, name, _ in each(draw, p_looped):
            s = slot.sample(name("s"), Bernoulli(self.a + 0.5 * before, event=0))
            z = slot.sample(name("z"), Normal((self.b * s).unsqueeze(-1).unsqueeze(-1), 1.5), plates={"side": 2})
            before = s + z.sum((-2, -1)) * 0.1
            locs.append(before)
            slot.keep("loc", before, event=0)
        loc = draw.stack("loc") if p_looped else torch.stack(torch.broadcast_tensors(*locs), -1)
        draw.sample("x", Normal(loc + w.unsqueeze(-1), 0.7, event=0), plates={"slot": SLOTS})

    torch.manual_seed(4)
    encoder = Side(
        q,
        memory=torch.randn(4),
        scale=scalar(-0.5),
        gru=Gru({"x": (), "memory": (4,)}, state="memory", size=4),
        s=Mlp({"memory": (4,)}, hidden=[], heads={"logits": ()}),
        z=Mlp({"memory": (4,), "s": ()}, hidden=[3], heads={"loc": (2,)}),
    )
    decoder = Side(p, first=scalar(0.2), a=scalar(-0.4), b=scalar(1.1))
    common = {
        "w": Variable("latent", Normal, ()),
        "x": Variable("observed", Normal, (), plates={"slot": SLOTS}),
    }
    if looped:
        return by_hand(
            encoder,
            decoder,
            {
                "s": Variable("supervised", Bernoulli, (), enumerated=True, plates={"slot": SLOTS}),
                "z": Variable("latent", Normal, (1,), plates={"side": 2, "slot": SLOTS}),
                **common,
            },
        )
    switches = {f"s{k}": Variable("supervised", Bernoulli, (), enumerated=True) for k in range(SLOTS)}
    return by_hand(
        encoder,
        decoder,
        switches | {f"z{k}": Variable("latent", Normal, (1,), plates={"side": 2}) for k in range(SLOTS)} | common,
    )


@pytest.mark.parametrize("known", ["nothing", "something", "everything"])
def test_a_loop_is_the_model_written_out(known: str) -> None:
    """In value and in gradient, with a plate inside of the loop, what is carried, and what is kept for later."""
    generator = torch.Generator().manual_seed(5)
    loop, flat = switching(True, True), switching(False, False)
    x, s = torch.randn((4, SLOTS), generator=generator), torch.rand((4, SLOTS), generator=generator).round()
    hidden = torch.rand((4, SLOTS), generator=generator) < {"nothing": 1.0, "something": 0.5, "everything": 0.0}[known]
    s = torch.where(hidden, torch.nan, s)
    noise = loop.noise(2, 4, generator)
    assert noise["z"].shape == (2, 4, 2, SLOTS, 1)
    apart = {f"z{k}": noise["z"][..., k, :] for k in range(SLOTS)} | {"w": noise["w"]}
    blocks = (
        (loop, Block(loop.evidence({"x": x, "s": s}), noise)),
        (flat, Block(flat.evidence({"x": x} | {f"s{k}": s[:, k] for k in range(SLOTS)}), apart)),
    )
    outcome = []
    for model, block in blocks:
        terms, estimate = model.estimate(block, model.knobs(alpha=1.5))
        total = {name: sum(term.log_p.sum() for key, term in terms.items() if key[0] == name) for name in "wx"}
        outcome.append((estimate.bound, slopes(model, estimate.bound), total["x"], total["w"]))
    torch.testing.assert_close(*outcome, rtol=1e-10, atol=1e-12)


def recurrent(looped: bool, bound: str, closed: bool) -> Model:
    """A memory that q carries along, a state z and a label y in each slot, and a style behind them all."""

    def each(draw: Draws) -> Iterator[tuple[int, Draws, Callable[[str], str]]]:
        if looped:
            yield from ((k, slot, lambda name: name) for k, slot in enumerate(draw.slots("slot", size=SLOTS)))
        else:
            yield from ((k, draw, lambda name, k=k: f"{name}{k}") for k in range(SLOTS))

    def q(self: Side, draw: Draws) -> None:
        seen, memory, before = draw.given("x"), torch.zeros(3), torch.zeros(2)
        states = []
        for k, slot, name in each(draw):
            memory = self.gru(x=slot.at(seen, 0) if looped else seen[..., k], memory=memory)
            y = slot.sample(name("y"), Normal(self.y(memory=memory), 0.8, event=0))
            before = slot.sample(name("z"), Normal(self.z(memory=memory, y=y) + self.carry * before, self.scale.exp()))
            states.append(before)
        stacked = draw.stack("z") if looped else torch.stack(torch.broadcast_tensors(*states), -2)
        draw.sample("w", Normal(stacked.sum((-2, -1)) * 0.3, 0.7, event=0))

    def p(self: Side, draw: Draws) -> None:
        w, before, locs = draw.sample("w", Normal(0.0, 1.0, event=0)), torch.zeros(2), []
        for _, slot, name in each(draw):
            before = slot.sample(name("z"), Normal(self.a * before, 1.2))
            y = slot.sample(name("y"), Normal(before.sum(-1) * self.b, 0.9, event=0))
            locs.append(y + before[..., 0])
            slot.keep("loc", locs[-1], event=0)
        loc = draw.stack("loc") if looped else torch.stack(torch.broadcast_tensors(*locs), -1)
        draw.sample("x", Normal(loc + w.unsqueeze(-1), 0.7, event=0), plates={"slot": SLOTS})

    torch.manual_seed(1)
    encoder = Side(
        q,
        gru=Gru({"x": (), "memory": (3,)}, state="memory", size=3),
        y=Mlp({"memory": (3,)}, hidden=[], heads={"loc": ()}),
        z=Mlp({"memory": (3,), "y": ()}, hidden=[3], heads={"loc": (2,)}),
        carry=scalar(0.4),
        scale=scalar(-0.3),
    )
    decoder = Side(p, a=scalar(0.6), b=scalar(0.5))
    common = {"w": Variable("latent", Normal, ()), "x": Variable("observed", Normal, (), plates={"slot": SLOTS})}
    plates = {"plates": {"slot": SLOTS}} if looped else {}
    names = [""] if looped else [str(k) for k in range(SLOTS)]
    own = {f"y{k}": Variable("supervised", Normal, (), **plates) for k in names}
    own |= {f"z{k}": Variable("latent", Normal, (2,), **plates) for k in names}
    facts: dict[str, Any] = {"bound": bound, "closed_kl": {f"z{k}": () for k in names} if closed else {}}
    return by_hand(encoder, decoder, own | common, **facts)


@pytest.mark.parametrize("labels", ["none", "some"])
@pytest.mark.parametrize(
    ("bound", "closed"),
    [("self_normalised", True), ("importance", False), ("importance_dreg", False)],
)
def test_a_loop_is_the_model_written_out_under_every_bound(bound: str, closed: bool, labels: str) -> None:
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn((4, SLOTS), generator=generator), torch.randn((4, SLOTS), generator=generator)
    shown = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 1]]).bool() & (labels == "some")
    y = torch.where(shown, y, torch.nan)
    noise = recurrent(True, bound, closed).noise(3, 4, generator)
    outcome = []
    for looped in (True, False):
        model = recurrent(looped, bound, closed)
        data = {"x": x} | ({"y": y} if looped else {f"y{k}": y[:, k] for k in range(SLOTS)})
        apart = {f"{name}{k}": noise[name][:, :, k] for name in "yz" for k in range(SLOTS)} | {"w": noise["w"]}
        block = Block(model.evidence(data), noise if looped else apart)
        bounds = model.estimate(block, model.knobs(alpha=1.5))[1].bound
        outcome.append((bounds, slopes(model, bounds)))
    torch.testing.assert_close(*outcome, rtol=1e-10, atol=1e-12)
    assert all(slope.any() for slope in outcome[0][1].values())


# Draws without a gradient through them, below enumerated steps.


def forked(rows: int) -> tuple[Model, Tensor]:
    """Two steps: a switch s_k, which is summed out, and a draw z_k below it, which s_{k+1} depends on.

    The model, and the parameters of z in q for every row.
    """
    weights = torch.tensor([[0.7, -0.4], [0.3, 0.8]]).expand(rows, 2, 2).clone()

    def q(self: Side, draw: Draws) -> None:
        before = torch.zeros(())
        for step in draw.slots("step", size=2):
            weight = step.at(self.weights, 1)
            s = step.enumerate("s", Bernoulli(0.4 + before, event=0), axis=0)
            before = step.score_function("z", Bernoulli(weight[:, 0] + weight[:, 1] * s, event=0), axes=2)

    def p(self: Side, draw: Draws) -> None:
        s = draw.sample("s", Bernoulli(torch.zeros(()), event=0), plates={"step": 2})
        z = draw.sample("z", Bernoulli(0.5 * s, event=0), plates={"step": 2})
        draw.sample("x", Normal((s + 2 * z).sum(-1), 1.0, event=0))

    variables = {
        "s": Variable("latent", Bernoulli, (), enumerated=True, plates={"step": 2}),
        "z": Variable("latent", Bernoulli, (), cells=(2, 2), plates={"step": 2}),
        "x": Variable("observed", Normal, ()),
    }
    return by_hand(Side(q, weights=weights), Side(p), variables), weights


def forked_truth(weights: Tensor) -> Tensor:
    """The bound of one row that sees 1.2, by a sum over every world."""
    total = torch.zeros(())
    seen = torch.distributions.Normal(0.0, 1.0)
    for world in product((0.0, 1.0), repeat=4):
        (s, z), log_q, log_p, before = (world[:2], world[2:]), torch.zeros(()), torch.zeros(()), 0.0
        for step in range(2):
            for value, logits, prior in (
                (s[step], torch.tensor(0.4 + before), torch.zeros(())),
                (z[step], weights[step, 0] + weights[step, 1] * s[step], torch.tensor(0.5 * s[step])),
            ):
                log_q = log_q + torch.distributions.Bernoulli(logits=logits).log_prob(torch.tensor(value))
                log_p = log_p + torch.distributions.Bernoulli(logits=prior).log_prob(torch.tensor(value))
            before = z[step]
        log_p = log_p + seen.log_prob(torch.tensor(1.2 - sum(s) - 2 * sum(z)))
        total = total + log_q.exp() * (log_p - log_q)
    return total


def test_draws_below_enumerated_steps_have_an_unbiased_gradient() -> None:
    """And a draw of an early step is the same in all cells of a later one: the weights of each sample's cells sum to one."""
    rows = 20_000
    model, weights = forked(rows)
    block = model.block({"x": torch.full((rows,), 1.2)}, 2, torch.Generator().manual_seed(6))
    terms, estimate = model.estimate(block, model.knobs())
    cells = log_cells(terms)
    assert cells.shape == (2, 2, 2, rows)
    torch.testing.assert_close(cells.flatten(0, 1).logsumexp(0), torch.zeros(2, rows), rtol=0, atol=1e-12)
    slope = torch.autograd.grad(estimate.bound.sum(), model.encoder.weights)[0]
    leaf = weights[0].clone().requires_grad_()
    expected = forked_truth(leaf)
    for found, true in ((estimate.bound.detach(), expected.detach()), (slope, torch.autograd.grad(expected, leaf)[0])):
        assert ((found.mean(0) - true).abs() < 4 * found.std(0) / sqrt(rows)).all()


# What loops put together.

CASES = [*family_cases.CASES, *family_cases_continuous.CASES, *family_cases_discrete.CASES]


@pytest.mark.parametrize("behind", [0, 1])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_stacked_distributions(case: Case, behind: int) -> None:
    """Every family's densities and mean are those of its slots, of which the second one has no row."""
    event, others = case.event(max(1, case.joint)), (4,) * behind
    made = [case.make((*rows, *others, *event), len(event), seed)[0] for seed, rows in enumerate([(5,), (), (5,)])]
    values = [
        one.sample(case.family.noise((5, *others, *event), torch.Generator().manual_seed(7), torch.float64)) for one in made
    ]
    stacked = made[0].stack(made, behind + len(event), torch.float64)
    dimensions = -1 - behind
    torch.testing.assert_close(
        stacked.log_prob(stack_slots(values, behind + len(event))),
        torch.stack([one.log_prob(value) for one, value in zip(made, values, strict=True)], dimensions),
    )
    means = [one.mean.expand(5, *others, *event) for one in made]
    torch.testing.assert_close(stacked.mean, torch.stack(means, dimensions - len(event)), equal_nan=True)


READY = [case for case in CASES if case.name not in ("Categorical", "Ordinal", "LowRankNormal", "MixtureOfNormals")]


@pytest.mark.parametrize("case", READY, ids=lambda case: case.name)
def test_parameters_of_inactive_slots_spoil_no_gradient(case: Case) -> None:
    """Infinite ones, of every family that keeps its parameters as they come, and does not normalise or factor them first."""
    event = case.event(max(1, case.joint))
    _, parameters = case.make((2, 3, *event), len(event))
    active = torch.tensor([[1.0, 1.0, 0.0], [0.5, 0.0, 0.0]])
    slopes = []
    for filling in (0.0, torch.inf):
        shared = [torch.zeros((), requires_grad=True) for _ in parameters]
        own = [one.detach() + other for one, other in zip(parameters, shared, strict=True)]
        inactive = [(active == 0).reshape(2, 3, *(1,) * (one.dim() - 2)) for one in own]
        own = [one + torch.where(there, filling, 0.0) for there, one in zip(inactive, own, strict=True)]
        made = case.build(own, len(event)).shielded(active, 1)
        value = made.sample(case.family.noise((2, 3, *event), torch.Generator().manual_seed(7), torch.float64)).detach()
        value = torch.where(active.reshape(2, 3, *(1,) * len(event)) > 0, value, case.family.inside)
        bound = (active * torch.where(active > 0, made.log_prob(value), 0.0)).sum()
        slopes.append((bound, torch.autograd.grad(bound, shared)))
    torch.testing.assert_close(*slopes)


def test_numbers_are_stacked_in_the_precision_of_values() -> None:
    parts = [Normal(number, 1.0) for number in (0.0, 2.0)]
    stacked = parts[0].stack(parts, 1, torch.float32)
    log_prob = stacked.log_prob(torch.zeros(5, 2, 3, dtype=torch.float32))
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob[:, 0] - log_prob[:, 1], torch.full((5,), 6.0, dtype=torch.float32))


def test_values_that_a_loop_keeps() -> None:
    """With as many dimensions as it is told; those without a row are repeated over it."""
    draw = Draws({}, {}, chain().knobs())
    table = torch.arange(6.0).reshape(3, 2)
    for slot in draw.slots("slot", size=3):
        slot.keep("vector", slot.at(table, 1) + torch.zeros(4, 2))
        slot.keep("number", slot.at(table, 1).sum(), event=0)
    assert torch.equal(draw.stack("vector"), table.expand(4, 3, 2))
    assert torch.equal(draw.stack("number"), table.sum(1))


def test_a_plate_that_is_counted_in_each_slot() -> None:
    """A count in a loop says of each slot which parts it has; behind the loop the weights hold for all of them."""
    counts = torch.tensor([[0, 2], [1, 1]])
    draw = Draws({}, {"z": torch.ones(1, 2, 3, 2)}, chain().knobs())
    for slot in draw.slots("slot", size=2):
        count = slot.at(torch.nn.functional.one_hot(counts, 3).double(), 1)
        weights = slot.active("part", count, values=(0, 1, 2), size=3)
        assert weights.shape == (2, 3)
    draw.sample("z", Normal(0.0, 1.0, event=0), plates={"part": 3, "slot": 2})
    log_p = draw.made["z"].term(Normal(0.0, 1.0, event=0)).log_p
    one = torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(1.0))
    torch.testing.assert_close(log_p, one * counts.sum(1).double().unsqueeze(0))


def test_a_count_of_steps() -> None:
    """A sequence that ends: later steps add nothing, and what they hold does not matter."""
    outcome = []
    for size, rest in ((2, 0.0), (4, 5.0)):

        def steps(draw: Draws, size: int = size) -> None:
            count = draw.enumerate("count", Categorical(torch.tensor([0.3, -0.3])), axis=0)
            draw.active("step", count, values=(1, 2), size=size)
            before = torch.zeros(())
            for step in draw.slots("step", size=size):
                before = step.sample("z", Normal(0.5 * before, 0.8, event=0))

        noise = torch.cat([torch.tensor([[[0.4, -1.2]]]), torch.full((1, 1, size - 2), rest)], -1)
        draw = Draws({}, {"z": noise}, chain().knobs())
        steps(draw)
        outcome.append(draw.made["z"].term(Normal(0.0, 1.0, event=0)))
    first, second = (0.8 * 0.4, 0.5 * 0.8 * 0.4 - 0.8 * 1.2)
    standard = torch.distributions.Normal(0.0, 1.0)
    log_p = [standard.log_prob(torch.tensor(z)) for z in (first, second)]
    for term in outcome:
        torch.testing.assert_close(term.log_p.flatten(), torch.stack([log_p[0], log_p[0] + log_p[1]]), rtol=0, atol=1e-12)


# What goes wrong.

SPEC = """
model: walk
plates: {step: {size: 4}}
variables:
  style: {distribution: normal}
  state: {distribution: normal, size: 3, plate: step}
  seen: {distribution: normal, size: 5, plate: step, role: observed}
p:
  state: {parents: [state.previous, style], network: {hidden: [6]}}
  seen: {parents: [state], network: {hidden: [6]}}
q:
  state: {parents: [seen], network: {hidden: [6]}}
  style: {parents: [state], network: {hidden: [6], pool: mean}}
"""


def test_a_failure_in_a_loop_names_the_variable() -> None:
    model = load(compile_text(SPEC, "walk.yaml").code, "walk")()
    first: Any = model.get_submodule("decoder.state.first")
    first.weight_style = nn.Parameter(torch.zeros(6, 2))
    with pytest.raises(RuntimeError) as caught:
        model.objective({"seen": torch.zeros(3, 4, 5)}, 2)
    assert caught.value.__notes__[0].startswith("while computing 'state' (walk.yaml:9)")
    assert ": loc, scale = self.state(state_previous=state_previous, style=style)\n  with " in caught.value.__notes__[0]
