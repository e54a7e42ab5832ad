"""counts: The habitat of a meadow from the plants and the insects that were counted on it, thirty
meadows named.

Compiled by graphvae from counts.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import (
    Categorical,
    Draws,
    Mlp,
    Model,
    NegativeBinomial,
    Normal,
    Poisson,
    Variable,
    positive,
)


class Encoder(nn.Module):
    """q(habitat, vigour | insects, plants)"""

    def __init__(self):
        super().__init__()
        self.habitat = Mlp({"plants": (6,), "insects": (4,)}, hidden=[32], heads={"logits": (3,)})
        self.vigour = Mlp(
            {"plants": (6,), "insects": (4,), "habitat": (3,)},
            hidden=[32],
            heads={"loc": (2,), "scale": (2,)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        insects = draw.given("insects")
        plants = draw.given("plants")

        logits = self.habitat(plants=plants, insects=insects)
        habitat = draw.enumerate("habitat", Categorical(logits), axis=0)  # counts.yaml:16

        loc, scale = self.vigour(plants=plants, insects=insects, habitat=habitat)
        draw.sample("vigour", Normal(loc, positive(scale)))  # counts.yaml:17

        return draw.made


class Decoder(nn.Module):
    """p(habitat, vigour, insects, plants)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("habitat_logits", torch.zeros(3), persistent=False)
        self.insects = Mlp({"habitat": (3,), "vigour": (2,)}, hidden=[32], heads={"logits": (4,)})
        self.insects_total_count = nn.Parameter(torch.zeros(4))
        self.plants = Mlp({"habitat": (3,), "vigour": (2,)}, hidden=[32], heads={"rate": (6,)})

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        habitat = draw.sample("habitat", Categorical(self.habitat_logits))  # counts.yaml:6
        vigour = draw.sample("vigour", Normal(0.0, 1.0))  # counts.yaml:7

        logits = self.insects(habitat=habitat, vigour=vigour)
        draw.sample(
            "insects", NegativeBinomial(positive(self.insects_total_count), logits)
        )  # counts.yaml:13

        rate = self.plants(habitat=habitat, vigour=vigour)
        draw.sample("plants", Poisson(positive(rate)))  # counts.yaml:12

        return draw.made


class Counts(Model):
    """p(habitat, vigour, insects, plants), trained through q(habitat, vigour | insects, plants)"""

    variables = {
        "habitat": Variable("supervised", Categorical, (3,), enumerated=True),
        "vigour": Variable("latent", Normal, (2,)),
        "insects": Variable("observed", NegativeBinomial, (4,)),
        "plants": Variable("observed", Poisson, (6,)),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
