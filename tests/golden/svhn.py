"""svhn: Which digit it is, named on a thousand photographs of house numbers, and how it looks.

Compiled by graphvae from svhn.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import (
    Categorical,
    Conv,
    Deconv,
    DiscretisedLogistic,
    Draws,
    Model,
    Normal,
    Variable,
    positive,
)


class Encoder(nn.Module):
    """q(digit, style | image)"""

    def __init__(self):
        super().__init__()
        self.digit = Conv(
            {"image": (3, 32, 32)},
            channels=[32, 64, 128],
            hidden=[128],
            heads={"logits": (10,)},
            dropout=0.3,
            normalisation="batch",
        )
        self.style = Conv(
            {"image": (3, 32, 32), "digit": (10,)},
            channels=[16, 32, 64],
            hidden=[128],
            heads={"loc": (15,), "scale": (15,)},
            normalisation="batch",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        image = draw.given("image")

        logits = self.digit(image=image)
        digit = draw.enumerate("digit", Categorical(logits), axis=0)  # svhn.yaml:23

        loc, scale = self.style(image=image, digit=digit)
        draw.sample("style", Normal(loc, positive(scale)))  # svhn.yaml:24

        return draw.made


class Decoder(nn.Module):
    """p(digit, style, image)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("digit_logits", torch.zeros(10), persistent=False)
        self.image = Deconv(
            {"digit": (10,), "style": (15,)},
            hidden=[128],
            channels=[8, 8],
            heads={"loc": (3, 32, 32)},
            normalisation="batch",
        )
        self.register_buffer("image_scale", torch.full((3, 32, 32), 0.1), persistent=False)

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        digit = draw.sample("digit", Categorical(self.digit_logits))  # svhn.yaml:10
        style = draw.sample("style", Normal(0.0, 1.0))  # svhn.yaml:11

        loc = self.image(digit=digit, style=style)
        draw.sample(
            "image", DiscretisedLogistic(loc, self.image_scale, levels=256, event=3)
        )  # svhn.yaml:17

        return draw.made


class Svhn(Model):
    """p(digit, style, image), trained through q(digit, style | image)"""

    variables = {
        "digit": Variable("supervised", Categorical, (10,), enumerated=True),
        "style": Variable("latent", Normal, (15,)),
        "image": Variable("observed", DiscretisedLogistic, (3, 32, 32), number=256),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
