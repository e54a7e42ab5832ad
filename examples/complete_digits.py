"""Digits read line by line, and finished: a state-space model sees the upper half of a digit and writes the lower one.

Trains specs/sequence.yaml on digits of which every second one ends at a random line, fills in the lower half of test digits,
and compares with the mean image. Without --data it takes scikit-learn's digits; with it, MNIST. Writes complete_digits.png.

    python examples/complete_digits.py --data FOLDER_OF_MNIST --epochs 3
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import graphvae
from graphvae.lab.sources import read_source

SPEC = Path(__file__).parents[1] / "specs" / "sequence.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--output", type=Path, default=Path("complete_digits.png"))
    arguments = parser.parse_args()

    rows = read_source("mnist" if arguments.data else "digits", arguments.data, None, None)
    images, digits = rows.columns["image"], rows.columns["label" if arguments.data else "digit"]
    count, lines, width = images.shape
    generator = np.random.default_rng(0)
    test = generator.permutation(count) < count // 7
    ends = np.where(generator.random(count) < 0.5, generator.integers(1, lines, count), lines)
    ends[test] = lines // 2
    seen = np.where(np.arange(lines)[:, None] < ends[:, None, None], images, np.nan).astype(np.float32)
    np.savez("digits_train.npz", image=seen[~test], digit=digits[~test])
    np.savez("digits_test.npz", image=seen[test][:500])

    settings = [
        f"training.epochs={arguments.epochs}",
        f"plates.line.size={lines}",
        f"variables.pixels.size={width}",
        "data={source: npz, columns: {pixels: image, digit: digit}, labels: {digit: {rows: 1000, balanced: true, seed: 0}}}",
    ]
    run = graphvae.train(SPEC, settings, data="digits_train.npz")
    filled = graphvae.impute(run, "digits_test.npz", samples=50, draws=3)

    whole, lower = images[test][:500], np.s_[:, lines // 2 :]
    mean_image = np.broadcast_to(images[~test].mean(0), whole.shape)
    print(f"root mean squared error of the lower halves of {len(whole)} digits")
    print(f"  finished {rmse(filled.means['image'][lower] - whole[lower]):.3f}, by the mean image", end=" ")
    print(f"{rmse(mean_image[lower] - whole[lower]):.3f}")
    print(f"digits, from the upper halves: {(filled.means['digit'].argmax(1) != digits[test][:500]).mean():.1%} wrong")

    shown = {"seen": seen[test], "finished": filled.means["image"], "whole": whole}
    figure, axes = plt.subplots(len(shown), 10, figsize=(5.5, 1.8))
    for row, (name, images) in zip(axes, shown.items(), strict=True):
        row[0].set_ylabel(name, fontsize=7)
        for axis, image in zip(row, images[:10], strict=True):
            axis.imshow(image, cmap="gray_r", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    figure.savefig(arguments.output, dpi=200, bbox_inches="tight")


def rmse(differences: np.ndarray) -> float:
    return float(np.sqrt(np.square(differences).mean()))


if __name__ == "__main__":
    main()
