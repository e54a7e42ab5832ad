"""multi_mnist: One to three digits on a canvas, how many of which is named on some rows; each digit
is a model of its own.

Compiled by graphvae from multi_mnist.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import (
    Bernoulli,
    Categorical,
    Conv,
    Count,
    Draws,
    Gru,
    Mlp,
    Model,
    Normal,
    Variable,
    crop,
    paste,
    positive,
    sum_over,
)


class GlyphEncoder(nn.Module):
    """q(digit, style | image), of the sub-model glyph"""

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
        digit = draw.concrete("digit", Categorical(logits))  # mnist.yaml:13

        loc, scale = self.style(image=image, digit=digit)
        draw.sample("style", Normal(loc, positive(scale)))  # mnist.yaml:14

        return draw.made


class Encoder(nn.Module):
    """q(count, place, glyph.image, glyph.digit, glyph.style | canvas)"""

    def __init__(self):
        super().__init__()
        self.seen = Conv({"canvas": (1, 50, 50)}, channels=[16, 32, 64], hidden=[256], heads={})
        self.count = Mlp({"seen": (256,)}, hidden=[256, 256], heads={"logits": (3,)})
        self.state_initial = nn.Parameter(torch.zeros(128))
        self.register_buffer("place_initial", torch.zeros(3), persistent=False)
        self.register_buffer("glyph_digit_initial", torch.zeros(10), persistent=False)
        self.state = Gru(
            {
                "seen": (256,),
                "state_previous": (128,),
                "place_previous": (3,),
                "glyph_digit_previous": (10,),
            },
            state="state_previous",
            size=128,
        )
        self.place = Mlp({"state": (128,)}, hidden=[128, 128], heads={"loc": (3,), "scale": (3,)})
        self.glyph = GlyphEncoder()

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        canvas = draw.given("canvas")

        seen = self.seen(canvas=canvas)  # multi_mnist.yaml:24

        logits = self.count(seen=seen)
        count = draw.enumerate("count", Categorical(logits), axis=0)  # multi_mnist.yaml:25

        draw.active("slot", count, values=[1, 2, 3], size=3)

        state_previous = self.state_initial
        place_previous = self.place_initial
        glyph_digit_previous = self.glyph_digit_initial
        for slot in draw.slots("slot", size=3):
            state = self.state(
                seen=seen,
                state_previous=state_previous,
                place_previous=place_previous,
                glyph_digit_previous=glyph_digit_previous,
            )  # multi_mnist.yaml:26

            loc, scale = self.place(state=state)
            place = slot.sample("place", Normal(loc, positive(scale)))  # multi_mnist.yaml:31

            box = (
                place * place.new_tensor([0.2, 0.8, 0.8]) + place.new_tensor([2.4, 0.0, 0.0])
            )  # multi_mnist.yaml:32

            probs = crop(canvas, box, 28, 28)
            glyph_image = slot.mean(
                "glyph.image", Bernoulli(probs=probs, event=3)
            )  # multi_mnist.yaml:33

            glyph = slot.call("glyph", self.glyph, image=glyph_image)  # multi_mnist.yaml:8
            glyph_digit = glyph["digit"]

            state_previous, place_previous, glyph_digit_previous = state, place, glyph_digit

        return draw.made


class GlyphDecoder(nn.Module):
    """p(digit, style, image), of the sub-model glyph"""

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
        digit = draw.sample("digit", Categorical(self.digit_logits))  # mnist.yaml:5
        style = draw.sample("style", Normal(0.0, 1.0))  # mnist.yaml:6

        logits = self.image(digit=digit, style=style)
        draw.mean("image", Bernoulli(logits, event=3))  # mnist.yaml:10

        return draw.made


class Decoder(nn.Module):
    """p(count, glyph.digit, glyph.style, glyph.image, place, canvas)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("count_logits", torch.zeros(3), persistent=False)
        self.glyph = GlyphDecoder()

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        count = draw.sample("count", Categorical(self.count_logits))  # multi_mnist.yaml:15
        slot_active = draw.active("slot", count, values=[1, 2, 3], size=3)

        glyph = draw.call("glyph", self.glyph, plates={"slot": 3})  # multi_mnist.yaml:8
        glyph_image = glyph["image"]

        place = draw.sample("place", Normal(0.0, 1.0), plates={"slot": 3})  # multi_mnist.yaml:16

        box = (
            place * place.new_tensor([0.2, 0.8, 0.8]) + place.new_tensor([2.4, 0.0, 0.0])
        )  # multi_mnist.yaml:20

        loc = sum_over(paste(glyph_image, box, 50, 50), -4, slot_active[..., None, None, None])
        draw.sample("canvas", Normal(loc, 0.3, event=3))  # multi_mnist.yaml:21

        return draw.made


class MultiMnist(Model):
    """p(count, glyph.digit, glyph.style, glyph.image, place, canvas),
    trained through q(count, place, glyph.image, glyph.digit, glyph.style | canvas)
    """

    variables = {
        "count": Variable("supervised", Categorical, (3,), enumerated=True),
        "glyph.digit": Variable("latent", Categorical, (10,), plates={"slot": 3}),
        "glyph.style": Variable("latent", Normal, (5,), plates={"slot": 3}),
        "glyph.image": Variable(
            "latent", Bernoulli, (1, 28, 28), soft=True, collapse=True, plates={"slot": 3}
        ),
        "place": Variable("latent", Normal, (3,), plates={"slot": 3}),
        "canvas": Variable("observed", Normal, (1, 50, 50)),
    }
    plates = {"slot": Count("count", values=(1, 2, 3))}
    settled = ("glyph",)
    label_term = "log_mean"
    closed_kl = {"glyph.digit": ()}

    def __init__(self):
        super().__init__(Encoder(), Decoder())
