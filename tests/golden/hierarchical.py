"""hierarchical: Which digit it is, named on a hundred images, then its style, then its strokes,
then the image.

Compiled by graphvae from hierarchical.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import Bernoulli, Categorical, Draws, Mlp, Model, Normal, Variable, positive


class Encoder(nn.Module):
    """q(digit, strokes, style | image)"""

    def __init__(self):
        super().__init__()
        self.digit = Mlp(
            {"image": (1, 28, 28)},
            hidden=[256, 256],
            heads={"logits": (10,)},
            dropout=0.3,
            normalisation="batch",
        )
        self.strokes = Mlp(
            {"image": (1, 28, 28), "digit": (10,)},
            hidden=[256],
            heads={"loc": (20,), "scale": (20,)},
            normalisation="batch",
        )
        self.style = Mlp(
            {"strokes": (20,), "digit": (10,)},
            hidden=[256],
            heads={"loc": (5,), "scale": (5,)},
            normalisation="batch",
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        image = draw.given("image")

        logits = self.digit(image=image)
        digit = draw.enumerate("digit", Categorical(logits), axis=0)  # hierarchical.yaml:18

        loc, scale = self.strokes(image=image, digit=digit)
        strokes = draw.sample("strokes", Normal(loc, positive(scale)))  # hierarchical.yaml:19

        loc, scale = self.style(strokes=strokes, digit=digit)
        draw.sample("style", Normal(loc, positive(scale)))  # hierarchical.yaml:20

        return draw.made


class Decoder(nn.Module):
    """p(digit, style, strokes, image)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("digit_logits", torch.zeros(10), persistent=False)
        self.style = Mlp(
            {"digit": (10,)},
            hidden=[256],
            heads={"loc": (5,), "scale": (5,)},
            normalisation="batch",
        )
        self.strokes = Mlp(
            {"style": (5,)},
            hidden=[256],
            heads={"loc": (20,), "scale": (20,)},
            normalisation="batch",
        )
        self.image = Mlp(
            {"strokes": (20,)}, hidden=[256], heads={"logits": (1, 28, 28)}, normalisation="batch"
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        digit = draw.sample("digit", Categorical(self.digit_logits))  # hierarchical.yaml:7

        loc, scale = self.style(digit=digit)
        style = draw.sample("style", Normal(loc, positive(scale)))  # hierarchical.yaml:13

        loc, scale = self.strokes(style=style)
        strokes = draw.sample("strokes", Normal(loc, positive(scale)))  # hierarchical.yaml:14

        logits = self.image(strokes=strokes)
        draw.sample("image", Bernoulli(logits, event=3))  # hierarchical.yaml:15

        return draw.made


class Hierarchical(Model):
    """p(digit, style, strokes, image), trained through q(digit, strokes, style | image)"""

    variables = {
        "digit": Variable("supervised", Categorical, (10,), enumerated=True),
        "style": Variable("latent", Normal, (5,)),
        "strokes": Variable("latent", Normal, (20,)),
        "image": Variable("observed", Bernoulli, (1, 28, 28), soft=True),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
