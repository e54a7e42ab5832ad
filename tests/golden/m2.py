"""m2: Which digit it is, named on a hundred images, and one layer of latent variables beside it.

Compiled by graphvae from m2.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import Bernoulli, Categorical, Draws, Mlp, Model, Normal, Variable, positive


class Encoder(nn.Module):
    """q(digit, style | image)"""

    def __init__(self):
        super().__init__()
        self.digit = Mlp(
            {"image": (1, 28, 28)},
            hidden=[256, 256],
            heads={"logits": (10,)},
            dropout=0.3,
            normalisation="batch",
        )
        self.style = Mlp(
            {"image": (1, 28, 28), "digit": (10,)},
            hidden=[256],
            heads={"loc": (5,), "scale": (5,)},
            normalisation="batch",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        image = draw.given("image")

        logits = self.digit(image=image)
        digit = draw.enumerate("digit", Categorical(logits), axis=0)  # m2.yaml:16

        loc, scale = self.style(image=image, digit=digit)
        draw.sample("style", Normal(loc, positive(scale)))  # m2.yaml:17

        return draw.made


class Decoder(nn.Module):
    """p(digit, style, image)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("digit_logits", torch.zeros(10), persistent=False)
        self.image = Mlp(
            {"digit": (10,), "style": (5,)},
            hidden=[256],
            heads={"logits": (1, 28, 28)},
            normalisation="batch",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        digit = draw.sample("digit", Categorical(self.digit_logits))  # m2.yaml:8
        style = draw.sample("style", Normal(0.0, 1.0))  # m2.yaml:9

        logits = self.image(digit=digit, style=style)
        draw.sample("image", Bernoulli(logits, event=3))  # m2.yaml:13

        return draw.made


class M2(Model):
    """p(digit, style, image), trained through q(digit, style | image)"""

    variables = {
        "digit": Variable("supervised", Categorical, (10,), enumerated=True),
        "style": Variable("latent", Normal, (5,)),
        "image": Variable("observed", Bernoulli, (1, 28, 28), soft=True),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
