"""The theory, exact and without tensors: rooted trees, series, order conditions, certificate numbers."""

from odekit.algebra.trees import AlgebraError, Tree, Trees, table, tree

__all__ = ["AlgebraError", "Tree", "Trees", "table", "tree"]
