"""Visual analogies: take the style of a real digit, and write every other digit in it.

Trains specs/digits.yaml on fifty labels, infers the style of a few test images by q(style | image, digit), and draws
p(image | digit, style) for the ten digits in each of these styles. Writes analogies.png.

    python examples/analogies.py
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import graphvae
from graphvae.lab.data import load_data

SPEC = Path(__file__).parents[1] / "specs" / "digits.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--output", type=Path, default=Path("analogies.png"))
    arguments = parser.parse_args()

    run = graphvae.train(SPEC, [f"training.epochs={arguments.epochs}"])
    model = graphvae.load(run)
    test = load_data(run.compile().graph, model.variables).test

    written = test["image"][:8]
    generator = torch.Generator().manual_seed(0)
    style = model.predict({"image": written}, samples=100, generator=generator, by="q")["style"]

    digits = torch.arange(10).repeat(len(written))
    drawn = model.sample(len(digits), {"digit": digits, "style": style.repeat_interleave(10, 0)}, generator, mean=True)
    rows = torch.cat([written.unsqueeze(1), drawn["image"].reshape(len(written), 10, 1, 8, 8)], 1)

    figure, axes = plt.subplots(*rows.shape[:2], figsize=(5.5, 4))
    for axis, image in zip(axes.flat, rows.flatten(0, 1), strict=True):
        axis.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
        axis.axis("off")
    figure.savefig(arguments.output, dpi=200, bbox_inches="tight")
    print(f"the first column is data, the others are drawn in its style: {arguments.output}")


if __name__ == "__main__":
    main()
