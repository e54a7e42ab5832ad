"""skip: Two layers of latent variables under a digit, which also make the image themselves.

Compiled by graphvae from skip.yaml.
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
        extra = draw.sample("extra", Normal(loc, positive(scale)))  # skip.yaml:17

        logits = self.digit(image=image, extra=extra)
        digit = draw.enumerate("digit", Categorical(logits), axis=0)  # skip.yaml:18

        loc, scale = self.style(image=image, extra=extra, digit=digit)
        draw.sample("style", Normal(loc, positive(scale)))  # skip.yaml:19

        return draw.made


class Decoder(nn.Module):
    """p(digit, style, extra, image)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("digit_logits", torch.zeros(10), persistent=False)
        self.extra = Mlp(
            {"digit": (10,), "style": (5,)},
            hidden=[256],
            heads={"loc": (5,), "scale": (5,)},
            normalisation="batch",
        )
        self.image = Mlp(
            {"digit": (10,), "style": (5,), "extra": (5,)},
            hidden=[256],
            heads={"logits": (1, 28, 28)},
            normalisation="batch",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        digit = draw.sample("digit", Categorical(self.digit_logits))  # skip.yaml:7
        style = draw.sample("style", Normal(0.0, 1.0))  # skip.yaml:8

        loc, scale = self.extra(digit=digit, style=style)
        extra = draw.sample("extra", Normal(loc, positive(scale)))  # skip.yaml:13

        logits = self.image(digit=digit, style=style, extra=extra)
        draw.sample("image", Bernoulli(logits, event=3))  # skip.yaml:14

        return draw.made


class Skip(Model):
    """p(digit, style, extra, image), trained through q(extra, digit, style | image)"""

    variables = {
        "digit": Variable("supervised", Categorical, (10,), enumerated=True),
        "style": Variable("latent", Normal, (5,)),
        "extra": Variable("latent", Normal, (5,)),
        "image": Variable("observed", Bernoulli, (1, 28, 28), soft=True),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
