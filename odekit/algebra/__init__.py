"""The theory, exact and without tensors: rooted trees, series, order conditions, certificate numbers."""

from odekit.algebra.backward import modified_equation, modifying_integrator
from odekit.algebra.conditions import Condition, order_conditions, principal_error, residuals
from odekit.algebra.runge_kutta import average_vector_field, series
from odekit.algebra.series import Series, compose, exact, field, identity
from odekit.algebra.trees import AlgebraError, Tree, Trees, table, tree

__all__ = [
    "AlgebraError", "Condition", "Series", "Tree", "Trees", "average_vector_field", "compose", "exact", "field",
    "identity", "modified_equation", "modifying_integrator", "order_conditions", "principal_error", "residuals",
    "series", "table", "tree",
]  # fmt: skip
