"""derived: Eight-by-eight digits, fifty of them named, whose style comes from a hand.

Compiled by graphvae from derived.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import Bernoulli, Categorical, Draws, Mlp, Model, Normal, Variable, positive


class Encoder(nn.Module):
    """q(digit, style, hand | image)"""

    def __init__(self):
        super().__init__()
        self.digit = Mlp({"image": (1, 8, 8)}, hidden=[64, 64], heads={"logits": (10,)})
        self.style = Mlp(
            {"image": (1, 8, 8), "digit": (10,)},
            hidden=[128, 128],
            heads={"loc": (8,), "scale": (8,)},
        )
        self.hand = Mlp({"style": (8,)}, hidden=[32, 32], heads={"loc": (2,), "scale": (2,)})

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        image = draw.given("image")

        logits = self.digit(image=image)
        digit = draw.enumerate("digit", Categorical(logits), axis=0)  # derived.yaml:6

        loc, scale = self.style(image=image, digit=digit)
        style = draw.sample("style", Normal(loc, positive(scale)))  # derived.yaml:12

        loc, scale = self.hand(style=style)
        draw.sample("hand", Normal(loc, positive(scale)))  # derived.yaml:7

        return draw.made


class Decoder(nn.Module):
    """p(digit, hand, style, image)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("digit_logits", torch.zeros(10), persistent=False)
        self.style = Mlp({"hand": (2,)}, hidden=[32, 32], heads={"loc": (8,), "scale": (8,)})
        self.image = Mlp({"digit": (10,), "style": (8,)}, hidden=[256], heads={"logits": (1, 8, 8)})

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        digit = draw.sample("digit", Categorical(self.digit_logits))  # derived.yaml:6
        hand = draw.sample("hand", Normal(0.0, 1.0))  # derived.yaml:7

        loc, scale = self.style(hand=hand)
        style = draw.sample("style", Normal(loc, positive(scale)))  # derived.yaml:12

        logits = self.image(digit=digit, style=style)
        draw.sample("image", Bernoulli(logits, event=3))  # derived.yaml:13

        return draw.made


class Derived(Model):
    """p(digit, hand, style, image), trained through q(digit, style, hand | image)"""

    variables = {
        "digit": Variable("supervised", Categorical, (10,), enumerated=True),
        "hand": Variable("latent", Normal, (2,)),
        "style": Variable("latent", Normal, (8,)),
        "image": Variable("observed", Bernoulli, (1, 8, 8), soft=True),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
