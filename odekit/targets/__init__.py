"""What the data is: distributions whose score, density, samples and moments are known in closed form."""

from .covariances import LowRank
from .empirical import Empirical
from .examples import aniso3, bimodal, digits, digits_mixture, get, names, ring6, scattered
from .mixture import Gaussian, GaussianMixture
from .under import under

__all__ = [
    "Empirical",
    "Gaussian",
    "GaussianMixture",
    "LowRank",
    "aniso3",
    "bimodal",
    "digits",
    "digits_mixture",
    "get",
    "names",
    "ring6",
    "scattered",
    "under",
]
