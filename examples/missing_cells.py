"""A table with holes: train on it, and fill them in.

Hides a quarter of the cells of scikit-learn's wines, trains specs/wine.yaml on the rest with fifteen cultivars named, fills in
the cells of the test rows, and compares with what was hidden there and with the mean of each column. Writes missing_cells.png.

    python examples/missing_cells.py
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

import graphvae

SPEC = Path(__file__).parents[1] / "specs" / "wine.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--output", type=Path, default=Path("missing_cells.png"))
    arguments = parser.parse_args()

    chemistry, cultivar = load_wine(return_X_y=True)
    whole = (chemistry - chemistry.mean(0)) / chemistry.std(0)
    generator = np.random.default_rng(0)
    hidden = generator.random(whole.shape) < 0.25
    test = generator.permutation(len(whole)) < 50
    holes = np.where(hidden, np.nan, whole).astype(np.float32)
    np.savez("wine_train.npz", cultivar=cultivar[~test], chemistry=holes[~test])
    np.savez("wine_test.npz", chemistry=holes[test])

    run = graphvae.train(SPEC, [f"training.epochs={arguments.epochs}"], data="wine_train.npz")
    filled = graphvae.impute(run, "wine_test.npz", samples=200, draws=50)

    truth, guess = whole[test][hidden[test]], filled.means["chemistry"][hidden[test]]
    column_mean = np.broadcast_to(np.nanmean(holes[~test], 0), whole[test].shape)[hidden[test]]
    spread = filled.draws["chemistry"].std(0)[hidden[test]]
    wrong = (filled.means["cultivar"].argmax(1) != cultivar[test]).mean()
    print(f"root mean squared error of {len(truth)} hidden cells, in standard deviations of their columns")
    print(f"  filled in {rmse(guess - truth):.3f}, by the mean of the column {rmse(column_mean - truth):.3f}")
    print(f"cultivars of {test.sum()} wines: {wrong:.1%} wrong")

    figure, axis = plt.subplots(figsize=(3.25, 3))
    axis.errorbar(truth, guess, spread, fmt="o", markersize=2, linewidth=0.4, color="black")
    axis.axline((0, 0), slope=1, linewidth=0.8, color="gray")
    axis.set(xlabel="what was hidden", ylabel="posterior mean and deviation")
    figure.savefig(arguments.output, dpi=200, bbox_inches="tight")


def rmse(differences: np.ndarray) -> float:
    return float(np.sqrt(np.square(differences).mean()))


if __name__ == "__main__":
    main()
