"""How long one training step of the MNIST model takes, beside the same model by hand, in Pyro, and beside its roofline.

All four run in turn in one process, on the same batch of 128 rows, half of them labelled; the ratios are the result. The
roofline is the time of the unavoidable matrix products alone, forward and backward, with nothing between them.

    pip install -c constraints.txt -e . pyro-ppl && python benchmarks/step.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pyro
import torch
from pyro import distributions as dist
from pyro.infer import SVI, TraceEnum_ELBO, config_enumerate
from torch import Tensor, nn
from torch.nn import functional

import graphvae
from graphvae.runtime import Block, Evidence

SPEC = Path(__file__).parents[1] / "specs" / "mnist.yaml"
LABELLED, UNLABELLED, DIGITS, STYLE, WIDTH, PIXELS = 64, 64, 10, 50, 500, 784
ALPHA = 50.0
Step = Callable[[], object]


def ours(images: Tensor, digits: Tensor) -> Step:
    """The emitted model, trained as `graphvae train` trains it."""
    model = graphvae.compile(SPEC, ["variables.image.shape=[784]", *_plain()])()
    knobs, optimiser = model.knobs(ALPHA), torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    hot = functional.one_hot(digits, DIGITS).float()

    def step() -> None:
        noise = model.noise(1, LABELLED + UNLABELLED)
        first, second = ({name: value[:, part] for name, value in noise.items()} for part in _parts())
        labelled = Block({"image": Evidence(images[:LABELLED]), "digit": Evidence(hot)}, first)
        unlabelled = Block({"image": Evidence(images[LABELLED:])}, second)
        bound, _ = model([labelled, unlabelled], knobs)
        _descend(-bound.mean(), optimiser)

    return step


def by_hand(images: Tensor, digits: Tensor) -> Step:
    """M2 as it is usually written: rows repeated for every digit, and inputs concatenated."""
    classify, encode, decode = _mlp(PIXELS, DIGITS), _mlp(PIXELS + DIGITS, 2 * STYLE), _mlp(STYLE + DIGITS, PIXELS)
    modules = nn.ModuleList([classify, encode, decode])
    optimiser = torch.optim.Adam(modules.parameters(), lr=1e-3)

    def bound(image: Tensor, digit: Tensor) -> Tensor:
        loc, raw = encode(torch.cat([image, digit], 1)).chunk(2, 1)
        posterior = torch.distributions.Normal(loc, functional.softplus(raw) + 1e-6)
        style = posterior.rsample()
        logits = decode(torch.cat([style, digit], 1))
        likelihood = -functional.binary_cross_entropy_with_logits(logits, image, reduction="none").sum(1)
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(style).sum(1)
        return likelihood + prior - posterior.log_prob(style).sum(1) - torch.tensor(float(DIGITS)).log()

    def step() -> None:
        labelled, unlabelled = images[:LABELLED], images[LABELLED:]
        log_q = classify(labelled).log_softmax(1)
        known = bound(labelled, functional.one_hot(digits, DIGITS).float()) + ALPHA * log_q.gather(1, digits[:, None])[:, 0]
        log_q = classify(unlabelled).log_softmax(1)
        every = torch.eye(DIGITS).repeat(UNLABELLED, 1)
        cells = bound(unlabelled.repeat_interleave(DIGITS, 0), every).reshape(UNLABELLED, DIGITS)
        unknown = (log_q.exp() * (cells - log_q)).sum(1)
        _descend(-torch.cat([known, unknown]).mean(), optimiser)

    return step


def in_pyro(images: Tensor, digits: Tensor) -> Step:
    """The same M2 with Pyro's parallel enumeration, a step on the labelled rows and one on the others, as in its example."""
    classify, encode, decode = _mlp(PIXELS, DIGITS), _mlp(PIXELS + DIGITS, 2 * STYLE), _mlp(STYLE + DIGITS, PIXELS)

    def join(first: Tensor, second: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(first.shape[:-1], second.shape[:-1])
        return torch.cat([first.expand(*shape, -1), second.expand(*shape, -1)], -1)

    def model(image: Tensor, digit: Tensor | None = None) -> None:
        pyro.module("decode", decode)
        with pyro.plate("rows", len(image)):
            style = pyro.sample("style", dist.Normal(torch.zeros(STYLE), 1.0).to_event(1))
            drawn = pyro.sample("digit", dist.OneHotCategorical(logits=torch.zeros(DIGITS)), obs=digit)
            pyro.sample("image", dist.Bernoulli(logits=decode(join(style, drawn)), validate_args=False).to_event(1), obs=image)

    def guide(image: Tensor, digit: Tensor | None = None) -> None:
        pyro.module("classify", classify)
        pyro.module("encode", encode)
        with pyro.plate("rows", len(image)):
            if digit is None:
                digit = pyro.sample("digit", dist.OneHotCategorical(logits=classify(image)))
            loc, raw = encode(join(image, digit)).chunk(2, -1)
            pyro.sample("style", dist.Normal(loc, functional.softplus(raw) + 1e-6).to_event(1))

    def label_model(image: Tensor, digit: Tensor) -> None:
        pyro.module("classify", classify)
        with pyro.plate("rows", len(image)), pyro.poutine.scale(scale=ALPHA):
            pyro.sample("label", dist.OneHotCategorical(logits=classify(image)), obs=digit)

    def label_guide(image: Tensor, digit: Tensor) -> None:
        pass

    optimiser = pyro.optim.Adam({"lr": 1e-3})
    loss = TraceEnum_ELBO(max_plate_nesting=1)
    svi = SVI(model, config_enumerate(guide, expand=False), optimiser, loss)
    label_svi = SVI(label_model, label_guide, optimiser, TraceEnum_ELBO(max_plate_nesting=1))
    hot = functional.one_hot(digits, DIGITS).float()

    def step() -> None:
        svi.step(images[:LABELLED], hot)
        svi.step(images[LABELLED:])
        label_svi.step(images[:LABELLED], hot)

    return step


def roofline() -> Step:
    """The matrix products that no implementation can avoid: an image is multiplied once a row, a hidden layer once a cell."""
    rows, cells = LABELLED + UNLABELLED, LABELLED + DIGITS * UNLABELLED
    layers = [(rows, PIXELS, WIDTH), (rows, WIDTH, WIDTH), (rows, WIDTH, DIGITS)]
    layers += [(rows, PIXELS, WIDTH), (cells, WIDTH, WIDTH), (cells, WIDTH, 2 * STYLE)]
    layers += [(cells, STYLE, WIDTH), (cells, WIDTH, WIDTH), (cells, WIDTH, PIXELS)]
    tensors = [(torch.randn(n, i), torch.randn(i, o), torch.randn(n, o), i == PIXELS) for n, i, o in layers]

    def step() -> None:
        for inputs, weights, outputs, is_data in tensors:
            inputs @ weights
            inputs.t() @ outputs
            if not is_data:
                outputs @ weights.t()

    return step


def _plain() -> list[str]:
    """Networks without options, whatever the shipped spec has."""
    keys = ("p.image", "q.digit", "q.style")
    return [f"{key}.network={{hidden: [{WIDTH}, {WIDTH}]}}" for key in keys]


def _parts() -> tuple[slice, slice]:
    return slice(None, LABELLED), slice(LABELLED, None)


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs))


def _descend(loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def _milliseconds(step: Step, repeats: int) -> list[float]:
    made = []
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        made.append(1000 * (time.perf_counter() - started))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    images, digits = torch.rand(LABELLED + UNLABELLED, PIXELS), torch.randint(DIGITS, (LABELLED,))
    contenders = {
        "roofline": roofline(),
        "graphvae": ours(images, digits),
        "by hand": by_hand(images, digits),
        "pyro": in_pyro(images, digits),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(arguments.rounds + 1):
        for name, step in contenders.items():
            made = _milliseconds(step, repeats=5)
            times[name] += made if round_number else []  # the first round warms up
    base = statistics.median(times["graphvae"])
    print(f"one step of 128 rows, {arguments.threads} thread(s), median of {5 * arguments.rounds}")
    for name, made in times.items():
        print(f"{name:<10}{statistics.median(made):8.1f} ms   {statistics.median(made) / base:5.2f} x graphvae")


if __name__ == "__main__":
    main()
