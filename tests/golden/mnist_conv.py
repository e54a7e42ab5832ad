"""mnist_conv: Which digit it is, named on a hundred images, and how it is written, by convolutions.

Compiled by graphvae from mnist_conv.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import (
    Bernoulli,
    Categorical,
    Conv,
    Deconv,
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
            {"image": (1, 28, 28)},
            channels=[16, 32],
            hidden=[128],
            heads={"logits": (10,)},
            dropout=0.3,
            normalisation="batch",
        )
        self.style = Conv(
            {"image": (1, 28, 28), "digit": (10,)},
            channels=[16, 32],
            hidden=[128],
            heads={"loc": (5,), "scale": (5,)},
            normalisation="batch",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        image = draw.given("image")

        logits = self.digit(image=image)
        digit = draw.enumerate("digit", Categorical(logits), axis=0)  # mnist_conv.yaml:13

        loc, scale = self.style(image=image, digit=digit)
        draw.sample("style", Normal(loc, positive(scale)))  # mnist_conv.yaml:14

        return draw.made


class Decoder(nn.Module):
    """p(digit, style, image)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("digit_logits", torch.zeros(10), persistent=False)
        self.image = Deconv(
            {"digit": (10,), "style": (5,)},
            hidden=[128],
            channels=[8, 4],
            heads={"logits": (1, 28, 28)},
            normalisation="batch",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        digit = draw.sample("digit", Categorical(self.digit_logits))  # mnist_conv.yaml:5
        style = draw.sample("style", Normal(0.0, 1.0))  # mnist_conv.yaml:6

        logits = self.image(digit=digit, style=style)
        draw.sample("image", Bernoulli(logits, event=3))  # mnist_conv.yaml:10

        return draw.made


class MnistConv(Model):
    """p(digit, style, image), trained through q(digit, style | image)"""

    variables = {
        "digit": Variable("supervised", Categorical, (10,), enumerated=True),
        "style": Variable("latent", Normal, (5,)),
        "image": Variable("observed", Bernoulli, (1, 28, 28), soft=True),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
