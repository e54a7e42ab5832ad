"""auxiliary: M2 whose q goes through an auxiliary variable.

Compiled by graphvae from auxiliary.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import Bernoulli, Categorical, Draws, Mlp, Model, Normal, Variable, positive


class Encoder(nn.Module):
    """q(extra, digit, style | image)"""

    def __init__(self):
        super().__init__()
        self.extra = Mlp(
            {"image": (1, 28, 28)},
            hidden=[256],
            heads={"loc": (5,), "scale": (5,)},
            normalisation="batch",
        )
        self.digit = Mlp(
            {"image": (1, 28, 28), "extra": (5,)},
            hidden=[256, 256],
            heads={"logits": (10,)},
            dropout=0.3,
            normalisation="batch",
        )
        self.style = Mlp(
            {"image": (1, 28, 28), "extra": (5,), "digit": (10,)},
            hidden=[256],
            heads={"loc": (5,), "scale": (5,)},
            normalisation="batch",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        image = draw.given("image")

        loc, scale = self.extra(image=image)
        extra = draw.sample("extra", Normal(loc, positive(scale)))  # auxiliary.yaml:18

        logits = self.digit(image=image, extra=extra)
        digit = draw.enumerate("digit", Categorical(logits), axis=0)  # auxiliary.yaml:19

        loc, scale = self.style(image=image, extra=extra, digit=digit)
        draw.sample("style", Normal(loc, positive(scale)))  # auxiliary.yaml:20

        return draw.made


class Decoder(nn.Module):
    """p(digit, style, image, extra)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("digit_logits", torch.zeros(10), persistent=False)
        self.image = Mlp(
            {"digit": (10,), "style": (5,)},
            hidden=[256],
            heads={"logits": (1, 28, 28)},
            normalisation="batch",
        )
        self.extra = Mlp(
            {"digit": (10,), "style": (5,), "image": (1, 28, 28)},
            hidden=[256],
            heads={"loc": (5,), "scale": (5,)},
            normalisation="batch",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        digit = draw.sample("digit", Categorical(self.digit_logits))  # auxiliary.yaml:8
        style = draw.sample("style", Normal(0.0, 1.0))  # auxiliary.yaml:9

        logits = self.image(digit=digit, style=style)
        image = draw.sample("image", Bernoulli(logits, event=3))  # auxiliary.yaml:14

        loc, scale = self.extra(digit=digit, style=style, image=image)
        draw.sample("extra", Normal(loc, positive(scale)))  # auxiliary.yaml:15

        return draw.made


class Auxiliary(Model):
    """p(digit, style, image, extra), trained through q(extra, digit, style | image)"""

    variables = {
        "digit": Variable("supervised", Categorical, (10,), enumerated=True),
        "style": Variable("latent", Normal, (5,)),
        "image": Variable("observed", Bernoulli, (1, 28, 28), soft=True),
        "extra": Variable("latent", Normal, (5,)),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
