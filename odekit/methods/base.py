"""The protocol of a method: one textbook step that serves tensors, rows, mpmath numbers and vectors over steps."""

from __future__ import annotations

from typing import Any, NamedTuple

from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.lawson import COORDINATES
from odekit.fields.matrix import MatrixCoordinates, is_isotropic


class Claim(NamedTuple):
    """The orders a method claims: of its formula (exact history), and of the method with its start and last step."""

    formula: int
    method: int


class Method:
    """A method is its claims and one `step`.

    ``step(f, window, carry, phase) -> carry``: ``f`` the coordinates (they also answer ``f.predict(x, instant)``),
    ``window = (t_next, t, t_prev, ...)`` instants, ``carry`` a dict of rows with ``"x"`` in it, ``phase`` a hashable
    that holds whatever varies along the grid. Step code never branches on a numeric value.
    """

    name: str = ""
    family: str = ""
    source: str = ""
    order: Claim
    prediction: Any = "velocity"
    is_plannable: bool = True
    space: str = "straight"
    """What a step runs in, a name of `odekit.fields.lawson.COORDINATES`."""
    history: int = 0
    """How many instants before the current one the formula looks back to."""

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        """What kind of step each one is; ``noise_free_end`` tells that the last node has sigma = 0."""
        return [None] * steps

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        """One step."""
        raise NotImplementedError

    def carry_from(self, f: Coordinates, instants: list, states: list) -> dict:
        """The carry of a run that is already under way, from exact states at their instants, newest first."""
        return {"x": states[0]}

    def coordinates(self, field, oracle=None, **options) -> Coordinates:
        """The coordinates this method is formulated in, for a field."""
        chosen = Coordinates if is_isotropic(field.process) else MatrixCoordinates
        return chosen(field, self.prediction, oracle, **options)

    def local(self, f: Coordinates, start: Instant) -> Any:
        """The coordinates of the step that begins at ``start``."""
        return COORDINATES[self.space](f, start)

    @property
    def evaluations(self) -> int:
        """Model evaluations a step, once under way."""
        raise NotImplementedError

    def key(self) -> dict:
        """Everything that determines the method's coefficients, as plain data (for caches and files)."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{self.name}: order {self.order.formula}, {self.family}>"
