"""families

Compiled by graphvae from families.yaml.
"""

import torch
from torch import nn

from graphvae.runtime import (
    Binomial,
    Dirichlet,
    DiscretisedLogistic,
    Draws,
    Gamma,
    LogNormal,
    LowRankNormal,
    MixtureOfNormals,
    Mlp,
    Model,
    MultivariateNormal,
    NegativeBinomial,
    Ordinal,
    StudentT,
    Variable,
    VonMises,
    ZeroInflatedPoisson,
    positive,
)


class Encoder(nn.Module):
    """q(angle, grade, place, rate, share, tries | pixels, reads, speed, visits, weight)"""

    def __init__(self):
        super().__init__()
        self.trunk = Mlp(
            {"reads": (4,), "visits": (), "pixels": (2, 2), "weight": (2,), "speed": (2,)},
            hidden=[8],
            heads={},
        )
        self.angle = Mlp({"trunk": (8,)}, hidden=[], heads={"loc": (), "concentration": ()})
        self.grade = Mlp({"trunk": (8,)}, hidden=[], heads={"loc": ()})
        self.grade_logits = nn.Parameter(torch.zeros(4))
        self.place = Mlp(
            {"trunk": (8,), "grade": (4,)},
            hidden=[],
            heads={"loc": (3,), "scale": (3,), "factor": (3, 1)},
        )
        self.rate = Mlp(
            {"trunk": (8,), "grade": (4,)}, hidden=[], heads={"loc": (2,), "scale": (2,)}
        )
        self.share = Mlp({"trunk": (8,)}, hidden=[], heads={"concentration": (3,)})
        self.tries = Mlp({"trunk": (8,)}, hidden=[], heads={"logits": ()})

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        pixels = draw.given("pixels")
        reads = draw.given("reads")
        speed = draw.given("speed")
        visits = draw.given("visits")
        weight = draw.given("weight")

        trunk = self.trunk(
            reads=reads, visits=visits, pixels=pixels, weight=weight, speed=speed
        )  # families.yaml:24

        loc, concentration = self.angle(trunk=trunk)
        draw.sample(
            "angle", VonMises(loc, positive(concentration, ceiling=10000.0), event=0)
        )  # families.yaml:26

        loc = self.grade(trunk=trunk)
        grade = draw.enumerate("grade", Ordinal(loc, self.grade_logits), axis=0)  # families.yaml:25

        loc, scale, factor = self.place(trunk=trunk, grade=grade)
        draw.sample("place", LowRankNormal(loc, positive(scale), factor))  # families.yaml:29

        loc, scale = self.rate(trunk=trunk, grade=grade)
        draw.sample("rate", LogNormal(loc, positive(scale)))  # families.yaml:27

        concentration = self.share(trunk=trunk)
        draw.sample("share", Dirichlet(positive(concentration)))  # families.yaml:28

        logits = self.tries(trunk=trunk)
        draw.enumerate(
            "tries", Binomial(logits, total_count=3, event=0), axis=1
        )  # families.yaml:30

        return draw.made


class Decoder(nn.Module):
    """p(angle, grade, place, rate, reads, share, pixels, speed, tries, visits, weight)"""

    def __init__(self):
        super().__init__()
        self.register_buffer("grade_loc", torch.zeros(()), persistent=False)
        self.register_buffer("grade_logits", torch.zeros(4), persistent=False)
        self.place = Mlp({"grade": (4,)}, hidden=[], heads={"loc": (3,), "scale": (3,)})
        self.register_buffer("place_below", torch.zeros(3, 3), persistent=False)
        self.reads = Mlp({"rate": (2,), "grade": (4,)}, hidden=[6], heads={"logits": (4,)})
        self.reads_total_count = nn.Parameter(torch.zeros(4))
        self.register_buffer("share_concentration", torch.full((3,), 1.0), persistent=False)
        self.pixels = Mlp(
            {"share": (3,), "place": (3,)}, hidden=[6], heads={"loc": (2, 2), "scale": (2, 2)}
        )
        self.speed = Mlp(
            {"place": (3,)}, hidden=[6], heads={"logits": (2,), "loc": (2, 2), "scale": (2, 2)}
        )
        self.register_buffer("tries_logits", torch.zeros(()), persistent=False)
        self.visits = Mlp({"tries": ()}, hidden=[], heads={"gate_logits": (), "rate": ()})
        self.weight = Mlp({"angle": ()}, hidden=[], heads={"loc": (2,)})
        self.weight_scale = nn.Parameter(torch.zeros(2))

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        angle = draw.sample("angle", VonMises(0.0, 1.0, event=0))  # families.yaml:6
        grade = draw.sample("grade", Ordinal(self.grade_loc, self.grade_logits))  # families.yaml:5

        loc, scale = self.place(grade=grade)
        place = draw.sample(
            "place", MultivariateNormal(loc, positive(scale), self.place_below)
        )  # families.yaml:22

        rate = draw.sample("rate", Gamma(1.0, 1.0))  # families.yaml:7

        logits = self.reads(rate=rate, grade=grade)
        draw.sample(
            "reads", NegativeBinomial(positive(self.reads_total_count), logits)
        )  # families.yaml:17

        share = draw.sample("share", Dirichlet(self.share_concentration))  # families.yaml:8

        loc, scale = self.pixels(share=share, place=place)
        draw.sample(
            "pixels", DiscretisedLogistic(loc, positive(scale), levels=16, event=2)
        )  # families.yaml:19

        logits, loc, scale = self.speed(place=place)
        draw.sample("speed", MixtureOfNormals(logits, loc, positive(scale)))  # families.yaml:21

        tries = draw.sample(
            "tries", Binomial(self.tries_logits, total_count=3, event=0)
        )  # families.yaml:10

        gate_logits, rate_2 = self.visits(tries=tries)
        draw.sample(
            "visits", ZeroInflatedPoisson(gate_logits, positive(rate_2), event=0)
        )  # families.yaml:18

        loc = self.weight(angle=angle)
        draw.sample("weight", StudentT(5.0, loc, positive(self.weight_scale)))  # families.yaml:20

        return draw.made


class Families(Model):
    """p(angle, grade, place, rate, reads, share, pixels, speed, tries, visits, weight),
    trained through q(angle, grade, place, rate, share, tries | pixels, reads, speed, visits,
        weight)
    """

    variables = {
        "angle": Variable("supervised", VonMises, ()),
        "grade": Variable("supervised", Ordinal, (4,), enumerated=True),
        "place": Variable("latent", MultivariateNormal, (3,), posterior=LowRankNormal),
        "rate": Variable("latent", Gamma, (2,), posterior=LogNormal),
        "reads": Variable("observed", NegativeBinomial, (4,)),
        "share": Variable("latent", Dirichlet, (3,)),
        "pixels": Variable("observed", DiscretisedLogistic, (2, 2), number=16),
        "speed": Variable("observed", MixtureOfNormals, (2,)),
        "tries": Variable("latent", Binomial, (), enumerated=True, number=3),
        "visits": Variable("observed", ZeroInflatedPoisson, ()),
        "weight": Variable("observed", StudentT, (2,)),
    }
    label_term = "log_mean"
    closed_kl = {"place": (), "share": ()}

    def __init__(self):
        super().__init__(Encoder(), Decoder())
