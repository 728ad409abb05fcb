"""Fields: what is integrated."""

from odekit.fields import problems
from odekit.fields.flow import ProbabilityFlow
from odekit.fields.parts import Part, SplitField
from odekit.fields.predictions import Prediction
from odekit.fields.reverse import ReverseSDE
from odekit.fields.vector import VectorField

__all__ = ["Part", "Prediction", "ProbabilityFlow", "ReverseSDE", "SplitField", "VectorField", "problems"]
