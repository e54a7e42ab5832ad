"""The first figures of specs/faces.yaml, faces_intrinsic.yaml, multi_mnist.yaml and multi_mnist_plain.yaml, out of their runs.

Prints how the terms moved, and writes MODEL.png beside this file: data, the mean of p at a draw of q, and the parts it is made of.

    python docs/results/structured.py --data PATH RUN
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import graphvae
from graphvae.lab.data import load_data
from graphvae.lab.runs import open_run

PARTS = {"multi_mnist": "glyph.image"}
SHOWN = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()

    run = open_run(arguments.run)
    model, graph = graphvae.load(run), run.compile().graph
    terms(run.metrics())
    observed = graph.named("observed")[0]
    data = load_data(graph, model.variables, arguments.data).test[observed][:SHOWN]
    q, p = model.passes(model.block({observed: data}, 1, torch.Generator().manual_seed(0)), model.knobs())
    weight = model.posterior({observed: data}, 1, torch.Generator().manual_seed(0), by="q").weight
    best = weight.flatten(0, -2).argmax(0)

    def picked(values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        cells = values.expand(*weight.shape, *shape).reshape(-1, SHOWN, *shape)
        return cells[best, torch.arange(SHOWN)]

    rows = [data, picked(p[observed].distribution.mean, model.variables[observed].shape)]
    if part := PARTS.get(graph.spec.model):
        windows = picked(p[part].value, model.variables[part].shape)
        rows += list(windows.unbind(1))
    figure, axes = plt.subplots(len(rows), SHOWN, figsize=(5.5, 0.7 * len(rows)))
    for axis, image in zip(axes.flat, [image for row in rows for image in row], strict=True):
        axis.imshow(image[0].detach(), cmap="gray", vmin=0, vmax=1)
        axis.axis("off")
    figure.savefig(Path(__file__).with_name(f"{graph.spec.model}.png"), dpi=200, bbox_inches="tight")


def terms(metrics: list[dict[str, float]]) -> None:
    """The first and the last epoch, term by term."""
    for name, value in metrics[-1].items():
        if name not in ("epoch", "seconds"):
            print(f"| `{name}` | {metrics[0][name]:.2f} | {value:.2f} |")


if __name__ == "__main__":
    main()
