"""everything: A spec that uses the whole language, with a '''quote''', a backslash \\ and an umlaut
ä in its description.

Compiled by graphvae from everything.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import Bernoulli, Categorical, Draws, Mlp, Model, Normal, Variable, positive


class Encoder(nn.Module):
    """q(angle, class, switch, loc | counts, dose, image)"""

    def __init__(self):
        super().__init__()
        self.trunk = Mlp(
            {"image": (1, 4, 4), "counts": (2, 4)},
            hidden=[12],
            heads={},
            dropout=0.1,
            normalisation="batch",
        )
        self.angle = Mlp({"trunk": (12,), "dose": ()}, hidden=[8], heads={"loc": (), "scale": ()})
        self.class_2 = Mlp(
            {"trunk": (12,), "angle": ()}, hidden=[8], heads={"logits": (3,)}, activation="gelu"
        )
        self.switch = Mlp({"trunk": (12,)}, hidden=[32, 32], heads={"logits": (2,)})
        self.loc = Mlp(
            {"trunk": (12,), "class_2": (3,), "switch": (2,)}, hidden=[32, 32], heads={"loc": (2,)}
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        counts = draw.given("counts")
        dose = draw.given("dose")
        image = draw.given("image")

        trunk = self.trunk(image=image, counts=counts)  # everything.yaml:21

        loc_2, scale = self.angle(trunk=trunk, dose=dose)
        angle = draw.sample(
            "angle", Normal(loc_2, positive(scale, floor=0.01), event=0)
        )  # everything.yaml:22

        logits = self.class_2(trunk=trunk, angle=angle)
        class_2 = draw.enumerate("class", Categorical(logits), axis=0)  # everything.yaml:23

        logits = self.switch(trunk=trunk)
        switch = draw.enumerate("switch", Bernoulli(logits), axis=1)  # everything.yaml:24

        loc_2 = self.loc(trunk=trunk, class_2=class_2, switch=switch)
        draw.sample("loc", Normal(loc_2, 0.5))  # everything.yaml:25

        return draw.made


class Decoder(nn.Module):
    """p(class, angle, loc, switch, counts, image | dose)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("class_logits", torch.zeros(3), persistent=False)
        self.angle = Mlp({"dose": (), "class_2": (3,)}, hidden=[], heads={"loc": (), "scale": ()})
        self.register_buffer("switch_probs", torch.full((2,), 0.2), persistent=False)
        self.features = Mlp(
            {"class_2": (3,), "switch": (2,), "loc": (2,)},
            hidden=[8],
            heads={"value": (6,)},
            activation="tanh",
        )
        self.counts = Mlp(
            {"features": (6,), "angle": ()}, hidden=[32, 32], heads={"logits": (2, 4)}
        )
        self.image = Mlp(
            {"features": (6,), "angle": ()},
            hidden=[8],
            heads={"loc": (1, 4, 4)},
            normalisation="layer",
        )
        self.image_scale = nn.Parameter(torch.zeros(1, 4, 4))

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        dose = draw.given("dose")

        class_2 = draw.sample("class", Categorical(self.class_logits))  # everything.yaml:6

        loc_2, scale = self.angle(dose=dose, class_2=class_2)
        angle = draw.sample("angle", Normal(loc_2, positive(scale), event=0))  # everything.yaml:16

        loc = draw.sample("loc", Normal(0.0, 1.0))  # everything.yaml:9
        switch = draw.sample("switch", Bernoulli(probs=self.switch_probs))  # everything.yaml:15

        features = self.features(class_2=class_2, switch=switch, loc=loc)  # everything.yaml:17

        logits = self.counts(features=features, angle=angle)
        draw.sample("counts", Categorical(logits, event=2))  # everything.yaml:18

        loc_2 = self.image(features=features, angle=angle)
        draw.sample(
            "image", Normal(loc_2, positive(self.image_scale), event=3)
        )  # everything.yaml:19

        return draw.made


class Everything(Model):
    """p(class, angle, loc, switch, counts, image | dose),
    trained through q(angle, class, switch, loc | counts, dose, image)
    """

    variables = {
        "dose": Variable("given", Normal, ()),
        "class": Variable("supervised", Categorical, (3,), enumerated=True),
        "angle": Variable("supervised", Normal, ()),
        "loc": Variable("latent", Normal, (2,)),
        "switch": Variable("latent", Bernoulli, (2,), enumerated=True),
        "counts": Variable("observed", Categorical, (2, 4)),
        "image": Variable("observed", Normal, (1, 4, 4)),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
