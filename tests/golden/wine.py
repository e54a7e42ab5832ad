"""wine: The cultivar of Italian wines from a chemical analysis with holes in it, fifteen of them
named.

Compiled by graphvae from wine.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import Categorical, Draws, Mlp, Model, Normal, Variable, positive


class Encoder(nn.Module):
    """q(cultivar, taste | chemistry)"""

    def __init__(self):
        super().__init__()
        self.cultivar = Mlp(
            {"chemistry": (13,), "chemistry_known": (13,)}, hidden=[32], heads={"logits": (3,)}
        )
        self.taste = Mlp(
            {"chemistry": (13,), "chemistry_known": (13,), "cultivar": (3,)},
            hidden=[32],
            heads={"loc": (3,), "scale": (3,)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        chemistry, chemistry_known = draw.masked("chemistry")

        logits = self.cultivar(chemistry=chemistry, chemistry_known=chemistry_known)
        cultivar = draw.enumerate("cultivar", Categorical(logits), axis=0)  # wine.yaml:13

        loc, scale = self.taste(
            chemistry=chemistry, chemistry_known=chemistry_known, cultivar=cultivar
        )
        draw.sample("taste", Normal(loc, positive(scale)))  # wine.yaml:14

        return draw.made


class Decoder(nn.Module):
    """p(cultivar, taste, chemistry)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("cultivar_logits", torch.zeros(3), persistent=False)
        self.chemistry = Mlp({"cultivar": (3,), "taste": (3,)}, hidden=[32], heads={"loc": (13,)})
        self.chemistry_scale = nn.Parameter(torch.zeros(13))

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        cultivar = draw.sample("cultivar", Categorical(self.cultivar_logits))  # wine.yaml:5
        taste = draw.sample("taste", Normal(0.0, 1.0))  # wine.yaml:6

        loc = self.chemistry(cultivar=cultivar, taste=taste)
        draw.sample("chemistry", Normal(loc, positive(self.chemistry_scale)))  # wine.yaml:10

        return draw.made


class Wine(Model):
    """p(cultivar, taste, chemistry), trained through q(cultivar, taste | chemistry)"""

    variables = {
        "cultivar": Variable("supervised", Categorical, (3,), enumerated=True),
        "taste": Variable("latent", Normal, (3,)),
        "chemistry": Variable("observed", Normal, (13,), masked=True),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
