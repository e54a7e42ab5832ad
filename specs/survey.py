"""Writes survey.csv, a made-up survey of 600 meadows, which counts.yaml, two_labels.yaml and conditional.yaml are about.

No meadow was ever looked at: this file is all that there is to know about them, and a seed makes the table.

    python specs/survey.py specs/survey.csv
"""

import csv
import sys
from pathlib import Path

import numpy as np

ROWS = 600
HABITATS = ("dry", "fresh", "wet")
PLANTS = ("thyme", "yarrow", "clover", "orchid", "sedge", "rush")
INSECTS = ("bee", "beetle", "hopper", "midge")
CLUMPS = 2.0  # the total count of a negative binomial: the smaller, the more a few meadows have most of the insects

COMMON = np.array(  # the logarithm of how many there are, of each plant and insect in each habitat
    [
        [2.0, 1.5, 0.5, -1.0, -1.5, -2.5, 1.5, 1.0, 1.0, -1.5],
        [0.0, 1.5, 2.0, 0.0, 0.0, -1.0, 1.0, 1.5, 1.0, 0.0],
        [-2.0, 0.0, 1.0, 0.5, 2.0, 1.5, 0.0, 1.0, 0.5, 2.0],
    ]
)
BY_MOISTURE = np.array([-0.4, -0.2, 0.1, 0.2, 0.5, 0.6, -0.2, 0.0, 0.0, 0.5])
BY_VIGOUR = np.array([0.2, 0.4, 0.4, -0.3, 0.3, 0.3, 0.5, 0.3, 0.4, 0.2])
BY_ALTITUDE = np.array([0.3, 0.1, -0.2, 0.4, 0.1, -0.3, -0.2, 0.1, 0.0, -0.4])


def survey(generator: np.random.Generator) -> list[list[object]]:
    """Rows of habitat, moisture in per cent, altitude in metres, and the counts of plants and insects."""
    altitude = generator.normal(size=ROWS)
    odds = np.exp(np.outer(altitude, [0.7, 0.0, -0.7]))  # the higher, the drier
    habitat = (generator.random((ROWS, 1)) > np.cumsum(odds / odds.sum(1, keepdims=True), 1)).sum(1)
    moisture = generator.normal(habitat - 1.0, 0.5)
    vigour = generator.normal(size=ROWS)  # of which the table says nothing
    depth = np.outer(moisture - habitat + 1, BY_MOISTURE) + np.outer(vigour, BY_VIGOUR) + np.outer(altitude, BY_ALTITUDE)
    mean = np.exp(COMMON[habitat] + depth)
    plants = generator.poisson(mean[:, : len(PLANTS)])
    insects = generator.negative_binomial(CLUMPS, CLUMPS / (CLUMPS + mean[:, len(PLANTS) :]))
    per_cent, metres = 40 + 12 * moisture, 800 + 250 * altitude
    return [
        [HABITATS[habitat[row]], round(per_cent[row], 1), round(metres[row]), *plants[row], *insects[row]]
        for row in range(ROWS)
    ]


def main() -> None:
    with Path(sys.argv[1]).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["habitat", "moisture", "altitude", *PLANTS, *INSECTS])
        writer.writerows(survey(np.random.default_rng(0)))


if __name__ == "__main__":
    main()
