"""multi_mnist_plain: One to three things on a canvas, how many of which is named on some rows.

Compiled by graphvae from multi_mnist_plain.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import (
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


class Encoder(nn.Module):
    """q(count, place, look | canvas)"""

    def __init__(self):
        super().__init__()
        self.seen = Conv({"canvas": (1, 50, 50)}, channels=[16, 32, 64], hidden=[256], heads={})
        self.count = Mlp({"seen": (256,)}, hidden=[256, 256], heads={"logits": (3,)})
        self.state_initial = nn.Parameter(torch.zeros(128))
        self.register_buffer("place_initial", torch.zeros(3), persistent=False)
        self.register_buffer("look_initial", torch.zeros(10), persistent=False)
        self.state = Gru(
            {
                "seen": (256,),
                "state_previous": (128,),
                "place_previous": (3,),
                "look_previous": (10,),
            },
            state="state_previous",
            size=128,
        )
        self.place = Mlp({"state": (128,)}, hidden=[128, 128], heads={"loc": (3,), "scale": (3,)})
        self.look = Mlp(
            {"window": (1, 28, 28), "state": (128,)},
            hidden=[256],
            heads={"loc": (10,), "scale": (10,)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        canvas = draw.given("canvas")

        seen = self.seen(canvas=canvas)  # multi_mnist_plain.yaml:19

        logits = self.count(seen=seen)
        count = draw.enumerate("count", Categorical(logits), axis=0)  # multi_mnist_plain.yaml:20

        draw.active("slot", count, values=[1, 2, 3], size=3)

        state_previous = self.state_initial
        place_previous = self.place_initial
        look_previous = self.look_initial
        for slot in draw.slots("slot", size=3):
            state = self.state(
                seen=seen,
                state_previous=state_previous,
                place_previous=place_previous,
                look_previous=look_previous,
            )  # multi_mnist_plain.yaml:21

            loc, scale = self.place(state=state)
            place = slot.sample("place", Normal(loc, positive(scale)))  # multi_mnist_plain.yaml:26

            box = (
                place * place.new_tensor([0.2, 0.8, 0.8]) + place.new_tensor([2.4, 0.0, 0.0])
            )  # multi_mnist_plain.yaml:27

            window = crop(canvas, box, 28, 28)  # multi_mnist_plain.yaml:28

            loc, scale = self.look(window=window, state=state)
            look = slot.sample("look", Normal(loc, positive(scale)))  # multi_mnist_plain.yaml:29

            state_previous, place_previous, look_previous = state, place, look

        return draw.made


class Decoder(nn.Module):
    """p(count, look, place, canvas)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("count_logits", torch.zeros(3), persistent=False)
        self.window = Mlp({"look": (10,)}, hidden=[256], heads={"value": (1, 28, 28)})

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        count = draw.sample("count", Categorical(self.count_logits))  # multi_mnist_plain.yaml:8
        slot_active = draw.active("slot", count, values=[1, 2, 3], size=3)
        look = draw.sample(
            "look", Normal(0.0, 1.0), plates={"slot": 3}
        )  # multi_mnist_plain.yaml:10
        place = draw.sample(
            "place", Normal(0.0, 1.0), plates={"slot": 3}
        )  # multi_mnist_plain.yaml:9

        box = (
            place * place.new_tensor([0.2, 0.8, 0.8]) + place.new_tensor([2.4, 0.0, 0.0])
        )  # multi_mnist_plain.yaml:15

        network = self.window(look=look)
        window = torch.sigmoid(network)  # multi_mnist_plain.yaml:14

        loc = sum_over(paste(window, box, 50, 50), -4, slot_active[..., None, None, None])
        draw.sample("canvas", Normal(loc, 0.3, event=3))  # multi_mnist_plain.yaml:16

        return draw.made


class MultiMnistPlain(Model):
    """p(count, look, place, canvas), trained through q(count, place, look | canvas)"""

    variables = {
        "count": Variable("supervised", Categorical, (3,), enumerated=True),
        "look": Variable("latent", Normal, (10,), plates={"slot": 3}),
        "place": Variable("latent", Normal, (3,), plates={"slot": 3}),
        "canvas": Variable("observed", Normal, (1, 50, 50)),
    }
    plates = {"slot": Count("count", values=(1, 2, 3))}
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
