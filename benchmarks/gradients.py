"""Bias and variance of the gradients with which q's draws are trained, on three small models, as Markdown.

Every model is compiled from a spec, trained for some steps by its exact or its quietest gradient, and then left as it is. The
gradient is that of the mean objective of 32 rows in all weights of q. Its bias is measured against the exact gradient where
everything can be enumerated, and elsewhere against the mean of a long run; the bias is the norm of the difference relative to
the norm of the gradient, and the variance is the trace of the covariance relative to the squared norm.

    python benchmarks/gradients.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from graphvae.compiler.pipeline import compile_text
from graphvae.runtime import Model, load

ROWS, KINDS, WIDTH, STEPS = 32, 5, 8, 20
NETWORK = "network: {hidden: [16], activation: tanh}"
CATEGORY = f"""
model: category
variables:
  kind: {{distribution: categorical, categories: {KINDS}}}
  signal: {{distribution: normal, size: {WIDTH}, role: observed}}
p: {{signal: {{parents: [kind], {NETWORK}, parameters: {{scale: 0.7}}}}}}
q: {{kind: {{parents: [signal], {NETWORK}, gradient: GRADIENT}}}}
objective: {{samples: 2}}
"""
DENSITY = CATEGORY.replace("samples: 2", "samples: 2, bound: importance")
LABEL = f"""
model: label
variables:
  kind: {{distribution: categorical, categories: {KINDS}}}
  flag: {{distribution: bernoulli, role: supervised}}
  signal: {{distribution: normal, size: {WIDTH}, role: observed}}
p: {{signal: {{parents: [kind, flag], {NETWORK}, parameters: {{scale: 0.7}}}}}}
q:
  kind: {{parents: [signal], {NETWORK}, gradient: GRADIENT}}
  flag: {{parents: [kind], {NETWORK}}}
objective: {{samples: 2}}
"""
NORMAL = f"""
model: normal
variables:
  code: {{distribution: normal, size: 2}}
  signal: {{distribution: normal, size: {WIDTH}, role: observed}}
p: {{signal: {{parents: [code], {NETWORK}, parameters: {{scale: 0.7}}}}}}
q: {{code: {{parents: [signal], {NETWORK}}}}}
objective: {{OBJECTIVE}}
"""


REPEATS, LONG, COPIES = 1000, 60, 200
Data = Mapping[str, Tensor]


@dataclass(frozen=True)
class Estimator:
    """A way to take the gradient: its name, the words that choose it in the spec, the samples a row, the temperature.

    `part` is what the gradient is of: the whole bound, log p(observed | ...), or the rest.
    """

    name: str
    word: str
    samples: int
    temperature: float | None = None
    part: Literal["whole", "likelihood", "divergence"] = "whole"

    def model(self, text: str) -> Model:
        """The model of a spec with this gradient."""
        text = text.replace("GRADIENT", self.word).replace("OBJECTIVE", self.word)
        model: Model = load(compile_text(text, "benchmark.yaml").code, "benchmark")()
        return model

    def bound(self, model: Model, data: Data, generator: torch.Generator) -> Tensor:
        """The mean objective of all rows, or a part of it."""
        temperature = {} if self.temperature is None else {"kind": self.temperature}
        block = model.block(data, self.samples, generator)

        def weighed(beta: float) -> Tensor:
            return model.estimate(block, model.knobs(beta=beta, temperature=temperature))[1].bound.mean()

        if self.part == "divergence":
            return weighed(1.0) - weighed(0.0)
        return weighed(1.0 if self.part == "whole" else 0.0)

    def gradients(self, text: str, weights: Data, data: Data, repeats: int, seed: int) -> Tensor:
        """The gradient in q's weights by so many draws, [repeat, weight]."""
        model, generator = self.model(text), torch.Generator().manual_seed(seed)
        model.load_state_dict(weights)
        parameters = list(model.encoder.parameters())
        made = [torch.autograd.grad(self.bound(model, data, generator), parameters) for _ in range(repeats)]
        return torch.stack([torch.cat([part.flatten() for part in each]) for each in made])


ENUMERATE = Estimator("enumerate", "enumerate", 1)
FINITE = [
    ENUMERATE,
    *(Estimator(f"concrete, temperature {t:g}", "concrete", 8, t) for t in (1.0, 0.66, 0.3, 0.1)),
    Estimator("straight_through, temperature 0.66", "straight_through", 8, 0.66),
    *(Estimator("score_function", "score_function", samples) for samples in (2, 8, 32)),
]
CLOSED = Estimator("reparameterised, kl: closed", "kl: closed", 1)
PLAIN = {samples: Estimator("bound: importance", "bound: importance", samples) for samples in (8, 64)}
DOUBLY = {samples: Estimator("bound: importance_dreg", "bound: importance_dreg", samples) for samples in (8, 64)}


@dataclass(frozen=True)
class Measured:
    """The bias of a gradient with its standard error, and its variance, both relative to the norm of the right one."""

    bias: float
    error: float
    variance: float

    @classmethod
    def of(cls, gradients: Tensor, right: Tensor) -> Measured:
        """From draws of a gradient and of the right one, [repeat, weight]; one draw of the latter is exact.

        The squared norm of a difference of means is too large by the trace of its covariance, which is taken off.
        """
        count, norm = len(gradients), right.mean(0).norm()
        difference = (gradients.mean(0) - right.mean(0)) / norm
        each = torch.cov(gradients.T) / norm**2
        covariance = each / count + (torch.cov(right.T) / norm**2 / len(right) if len(right) > 1 else 0.0)
        square = (difference.square().sum() - covariance.trace()).clamp_min(0)
        error = (4 * difference @ covariance @ difference + 2 * covariance.square().sum()).sqrt()  # of the square
        bias = square.sqrt()
        of_bias = error / (2 * bias) if square > error else error.sqrt()
        return cls(bias.item(), of_bias.item(), each.trace().item())

    def __str__(self) -> str:
        return f"{self.bias:.3f} ± {self.error:.3f} | {self.variance:.3g}"


def rows() -> dict[str, Tensor]:
    """Clusters around random centres, and a flag that follows the cluster three times in four."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(KINDS, (ROWS,), generator=generator)
    centres = torch.randn(KINDS, WIDTH, generator=generator)
    signal = centres[kind] + 0.7 * torch.randn(ROWS, WIDTH, generator=generator)
    turned = torch.rand(ROWS, generator=generator) < 0.25
    return {"signal": signal, "flag": ((kind % 2 == 1) ^ turned).double()}


def trained(text: str, estimator: Estimator, data: Data) -> dict[str, Tensor]:
    """Weights on the way: after some steps of Adam."""
    torch.manual_seed(0)
    model, generator = estimator.model(text), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(STEPS):
        optimiser.zero_grad()
        (-estimator.bound(model, data, generator)).backward()
        optimiser.step()
    return model.state_dict()


def finite(data: Data) -> Iterator[str]:
    """Every gradient of a category, alone and with a known label behind it."""
    yield "| gradient | samples | bias | variance | bias, label behind | variance, label behind |"
    yield "|---|--:|--:|--:|--:|--:|"
    alone = {"signal": data["signal"]}
    cases = [(text, table, trained(text, ENUMERATE, table)) for text, table in ((CATEGORY, alone), (LABEL, data))]
    right = [ENUMERATE.gradients(text, weights, table, 1, 0) for text, table, weights in cases]
    for estimator in FINITE:
        cells = []
        for exact, (text, table, weights) in zip(right, cases, strict=True):
            if estimator.word == "straight_through" and text == LABEL:
                cells.append("refused | ")
                continue
            repeats = 2 if estimator is ENUMERATE else REPEATS
            cells.append(str(Measured.of(estimator.gradients(text, weights, table, repeats, 1), exact)))
        yield f"| {estimator.name} | {estimator.samples} | {' | '.join(cells)} |"


def densities(data: Data) -> Iterator[str]:
    """Relaxed draws scored by their densities, by temperature and without a label: log p(signal | kind), the rest, and both.

    The importance bound scores them so, and at one sample a row it is the same bound: eight copies of the rows are eight
    samples.
    """
    parts: dict[str, Literal["likelihood", "divergence", "whole"]] = {
        "log p(signal given kind)": "likelihood",
        "log q(kind) - log p(kind)": "divergence",
        "both": "whole",
    }
    yield f"| temperature | {' | '.join(f'bias of {name} | its variance' for name in parts)} |"
    yield f"|{'--:|' * (1 + 2 * len(parts))}"
    table = {"signal": data["signal"]}
    weights = trained(CATEGORY, ENUMERATE, table)
    right = {part: replace(ENUMERATE, part=part).gradients(CATEGORY, weights, table, 1, 0) for part in parts.values()}
    for estimator in (each for each in FINITE if each.word == "concrete"):
        copies = {"signal": data["signal"].repeat(estimator.samples, 1)}
        made = {part: replace(estimator, samples=1, part=part) for part in parts.values()}
        found = [Measured.of(each.gradients(DENSITY, weights, copies, REPEATS, 1), right[p]) for p, each in made.items()]
        yield f"| {estimator.temperature:g} | {' | '.join(map(str, found))} |"


def continuous(data: Data) -> Iterator[str]:
    """Gradients of a normal draw; where nothing is exact, the right one is the mean of a long run."""
    yield "| gradient | samples | bias | variance |"
    yield "|---|--:|--:|--:|"
    table = {"signal": data["signal"]}
    many = {"signal": data["signal"].repeat(COPIES, 1)}
    weights = trained(NORMAL, CLOSED, table)
    sampled = Estimator("reparameterised, kl: sampled", "kl: sampled", 1)
    pairs = [(CLOSED, sampled), (CLOSED, CLOSED), *((PLAIN[s], each[s]) for s in PLAIN for each in (PLAIN, DOUBLY))]
    right = {standard: standard.gradients(NORMAL, weights, many, LONG, 2) for standard in dict.fromkeys(s for s, _ in pairs)}
    for standard, estimator in pairs:
        measured = Measured.of(estimator.gradients(NORMAL, weights, table, REPEATS, 1), right[standard])
        yield f"| {estimator.name} | {estimator.samples} | {measured} |"


def main() -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    data = rows()
    print("\n".join([*finite(data), "", *densities(data), "", *continuous(data)]))


if __name__ == "__main__":
    main()
