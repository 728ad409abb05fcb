"""The derivation engine: order conditions solved for coefficients, handed out exact and with their certificate.

A recipe is a function decorated with `recipe`; its parameters are the choices a user has. It returns a Derivation.
"""

from odekit.algebra.derive.derivation import Derivation, Difference, derive, recipe, recipes

__all__ = ["Derivation", "Difference", "derive", "recipe", "recipes"]
