"""odekit: diffusion ODEs and SDEs, their integrators, and the proof of their orders."""

from odekit import grids, methods, processes, targets
from odekit.exceptions import OdekitError
from odekit.fields import ProbabilityFlow, ReverseSDE, SplitField, VectorField, problems
from odekit.fields.preconditioned import Preconditioned
from odekit.fields.predictions import Prediction
from odekit.grids import grid
from odekit.plan import Plan, plan, same
from odekit.processes import CLD, EDM, PSLD, VE, VP, Blurring, Cosine, DiscreteVP, LinearSDE, RectifiedFlow, SubVP
from odekit.solve import Solution, reference, solve
from odekit.targets import Empirical, Gaussian, GaussianMixture
from odekit.trace import trace

__version__ = "0.1.0"

__all__ = [
    "Blurring", "CLD", "Cosine", "DiscreteVP", "EDM", "Empirical", "Gaussian", "GaussianMixture", "LinearSDE",
    "OdekitError", "PSLD", "Plan", "Preconditioned", "Prediction", "ProbabilityFlow", "RectifiedFlow", "ReverseSDE",
    "Solution", "SplitField", "SubVP", "VE", "VP", "VectorField", "grid", "grids", "methods", "plan", "problems",
    "processes", "reference", "same", "solve", "targets", "trace",
]  # fmt: skip
