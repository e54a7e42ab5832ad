"""two_labels: The habitat of a meadow, named on some, and its moisture, measured on others, from
the plants that were counted on it.

Compiled by graphvae from two_labels.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import Categorical, Draws, Mlp, Model, Normal, Poisson, Variable, positive


class Encoder(nn.Module):
    """q(habitat, moisture, vigour | plants)"""

    def __init__(self):
        super().__init__()
        self.habitat = Mlp({"plants": (6,)}, hidden=[32], heads={"logits": (3,)})
        self.moisture = Mlp(
            {"plants": (6,), "habitat": (3,)}, hidden=[32], heads={"loc": (), "scale": ()}
        )
        self.vigour = Mlp(
            {"plants": (6,), "habitat": (3,), "moisture": ()},
            hidden=[32],
            heads={"loc": (2,), "scale": (2,)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        plants = draw.given("plants")

        logits = self.habitat(plants=plants)
        habitat = draw.enumerate("habitat", Categorical(logits), axis=0)  # two_labels.yaml:16

        loc, scale = self.moisture(plants=plants, habitat=habitat)
        moisture = draw.sample(
            "moisture", Normal(loc, positive(scale, floor=0.01), event=0)
        )  # two_labels.yaml:17

        loc, scale = self.vigour(plants=plants, habitat=habitat, moisture=moisture)
        draw.sample("vigour", Normal(loc, positive(scale)))  # two_labels.yaml:18

        return draw.made


class Decoder(nn.Module):
    """p(habitat, moisture, vigour, plants)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("habitat_logits", torch.zeros(3), persistent=False)
        self.moisture = Mlp({"habitat": (3,)}, hidden=[32], heads={"loc": (), "scale": ()})
        self.plants = Mlp(
            {"habitat": (3,), "moisture": (), "vigour": (2,)}, hidden=[32], heads={"rate": (6,)}
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        habitat = draw.sample("habitat", Categorical(self.habitat_logits))  # two_labels.yaml:6

        loc, scale = self.moisture(habitat=habitat)
        moisture = draw.sample(
            "moisture", Normal(loc, positive(scale), event=0)
        )  # two_labels.yaml:12

        vigour = draw.sample("vigour", Normal(0.0, 1.0))  # two_labels.yaml:8

        rate = self.plants(habitat=habitat, moisture=moisture, vigour=vigour)
        draw.sample("plants", Poisson(positive(rate)))  # two_labels.yaml:13

        return draw.made


class TwoLabels(Model):
    """p(habitat, moisture, vigour, plants),
    trained through q(habitat, moisture, vigour | plants)
    """

    variables = {
        "habitat": Variable("supervised", Categorical, (3,), enumerated=True),
        "moisture": Variable("supervised", Normal, ()),
        "vigour": Variable("latent", Normal, (2,)),
        "plants": Variable("observed", Poisson, (6,)),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
