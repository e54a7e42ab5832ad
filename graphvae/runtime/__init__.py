"""What emitted code needs: torch, and nothing else of graphvae."""

from graphvae.runtime.distributions import Bernoulli as Bernoulli
from graphvae.runtime.distributions import Categorical as Categorical
from graphvae.runtime.distributions import ContinuousBernoulli as ContinuousBernoulli
from graphvae.runtime.distributions import Normal as Normal
from graphvae.runtime.distributions import positive as positive
from graphvae.runtime.draws import Draws as Draws
from graphvae.runtime.draws import Evidence as Evidence
from graphvae.runtime.draws import Knobs as Knobs
from graphvae.runtime.draws import Term as Term
from graphvae.runtime.load import load as load
from graphvae.runtime.model import Block as Block
from graphvae.runtime.model import Model as Model
from graphvae.runtime.model import Variable as Variable
from graphvae.runtime.networks import Mlp as Mlp
from graphvae.runtime.objectives import LogEvidence as LogEvidence
