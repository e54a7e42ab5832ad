"""conditional: The habitat of a meadow from the plants that were counted on it, given how high it
lies.

Compiled by graphvae from conditional.yaml.
"""

from torch import nn

from graphvae.runtime import Categorical, Draws, Mlp, Model, Normal, Poisson, Variable, positive


class Encoder(nn.Module):
    """q(habitat, vigour | altitude, plants)"""

    def __init__(self):
        super().__init__()
        self.habitat = Mlp({"plants": (6,), "altitude": ()}, hidden=[32], heads={"logits": (3,)})
        self.vigour = Mlp(
            {"plants": (6,), "habitat": (3,), "altitude": ()},
            hidden=[32],
            heads={"loc": (2,), "scale": (2,)},
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        altitude = draw.given("altitude")
        plants = draw.given("plants")

        logits = self.habitat(plants=plants, altitude=altitude)
        habitat = draw.enumerate("habitat", Categorical(logits), axis=0)  # conditional.yaml:16

        loc, scale = self.vigour(plants=plants, habitat=habitat, altitude=altitude)
        draw.sample("vigour", Normal(loc, positive(scale)))  # conditional.yaml:17

        return draw.made


class Decoder(nn.Module):
    """p(habitat, vigour, plants | altitude)"""

    def __init__(self):
        super().__init__()
        self.habitat = Mlp({"altitude": ()}, hidden=[32], heads={"logits": (3,)})
        self.plants = Mlp(
            {"habitat": (3,), "vigour": (2,), "altitude": ()}, hidden=[32], heads={"rate": (6,)}
        )

    def forward(self, evidence, noise, knobs):
        draw = Draws(evidence, noise, knobs)
        altitude = draw.given("altitude")

        logits = self.habitat(altitude=altitude)
        habitat = draw.sample("habitat", Categorical(logits))  # conditional.yaml:12

        vigour = draw.sample("vigour", Normal(0.0, 1.0))  # conditional.yaml:8

        rate = self.plants(habitat=habitat, vigour=vigour, altitude=altitude)
        draw.sample("plants", Poisson(positive(rate)))  # conditional.yaml:13

        return draw.made


class Conditional(Model):
    """p(habitat, vigour, plants | altitude),
    trained through q(habitat, vigour | altitude, plants)
    """

    variables = {
        "altitude": Variable("given", Normal, ()),
        "habitat": Variable("supervised", Categorical, (3,), enumerated=True),
        "vigour": Variable("latent", Normal, (2,)),
        "plants": Variable("observed", Poisson, (6,)),
    }
    label_term = "log_mean"

    def __init__(self):
        super().__init__(Encoder(), Decoder())
