"""The theory, exact and without tensors: rooted trees, series, order conditions, certificate numbers."""

from odekit.algebra.backward import modified_equation, modifying_integrator
from odekit.algebra.certificates import certificate
from odekit.algebra.conditions import Condition, principal_error, residuals
from odekit.algebra.conjugacy import conjugate_symplectic, conjugate_to_exact, processor
from odekit.algebra.families import order_conditions
from odekit.algebra.multistep import Multistep
from odekit.algebra.multistep import get as linear_multistep
from odekit.algebra.properties import Certificate
from odekit.algebra.runge_kutta import average_vector_field, series
from odekit.algebra.series import Series, compose, exact, field, identity
from odekit.algebra.stability import StabilityFunction, stability_function
from odekit.algebra.structure import energy_preserving, symmetric, symplectic
from odekit.algebra.trees import AlgebraError, Tree, Trees, table, tree

__all__ = [
    "AlgebraError", "Certificate", "Condition", "Multistep", "Series", "StabilityFunction", "Tree", "Trees",
    "average_vector_field", "certificate", "compose", "conjugate_symplectic", "conjugate_to_exact",
    "energy_preserving", "exact", "field", "identity", "linear_multistep", "modified_equation",
    "modifying_integrator", "order_conditions", "principal_error", "processor", "residuals", "series",
    "stability_function", "symmetric", "symplectic", "table", "tree",
]  # fmt: skip
