"""What every process has: parameters for good, a range of times, a repr that makes it again."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from ..exceptions import OdekitError, TimeRangeError, unknown
from ..expressions import exact_value
from .kinds import Tensors, elementwise, number


class Process:
    """A forward process: immutable, hashable, equal by class and parameters, pickled by constructor arguments.

    A subclass declares `defaults` (parameter name -> value), `domain`, where t is valid, `t_min` and `t_max`, where
    samplers work, and `check()`, which refuses bad parameters. Times outside `domain` raise `TimeRangeError`.

    >>> class Still(Process):
    ...     defaults = {"width": 1}
    >>> Still(width=2)
    Still(width=2, t_min=0.001, t_max=1.0)
    """

    name: str = ""
    domain: tuple[float, float] = (0.0, math.inf)
    t_min: float = 1e-3
    t_max: float = 1.0
    defaults: Mapping[str, Any] = MappingProxyType({})

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "__init__" not in vars(cls) and cls.__init__ is Process.__init__:
            options = {**cls.defaults, "t_min": cls.t_min, "t_max": cls.t_max}
            cls.__signature__ = inspect.Signature(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
                for name, value in options.items()
            )

    def __init__(self, **parameters: Any) -> None:
        options = {**self.defaults, "t_min": self.t_min, "t_max": self.t_max}
        for name in parameters:
            if name not in options:
                raise unknown(f"parameter of {type(self).__name__}", name, options)
        options.update(parameters)
        for name, value in options.items():
            if value is inspect.Parameter.empty:
                raise OdekitError(f"{type(self).__name__} needs a value for {name}")
            options[name] = self._parameter(name, value)
        self._fix(options)

    def _fix(self, options: dict[str, Any]) -> None:
        """Sets the parameters for good, and checks them."""
        vars(self).update(options)
        vars(self)["parameters"] = MappingProxyType(options)
        self.check()
        low, high = self.domain
        if not low <= self.t_min < self.t_max <= high or math.isinf(self.t_max):
            raise TimeRangeError(
                f"{type(self).__name__}: t_min = {self.t_min} and t_max = {self.t_max} must satisfy "
                f"{low} <= t_min < t_max <= {high}, and be finite"
            )

    def _parameter(self, name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (numbers.Real, str)):
            raise OdekitError(f"{type(self).__name__}: {name} must be a number, not {type(value).__name__}")
        if isinstance(value, numbers.Real) and not math.isfinite(value):
            raise OdekitError(f"{type(self).__name__}: {name} = {value} is not finite")
        try:
            exact = exact_value(value)
        except OdekitError as error:
            raise type(error)(f"{type(self).__name__}: {name} = {value!r} is no number: {error}") from None
        if not isinstance(exact, Fraction):
            raise OdekitError(f"{type(self).__name__}: {name} = {value} must be rational")
        if name in ("t_min", "t_max"):
            return float(exact)
        return exact if isinstance(value, str) else value if isinstance(value, (int, Fraction)) else float(value)

    def check(self) -> None:
        """Refuses parameters for which the process makes no sense (nothing to refuse by default)."""

    def _positive(self, *names: str) -> None:
        for name in names:
            if not self.parameters[name] > 0:
                raise OdekitError(f"{type(self).__name__}: {name} = {self.parameters[name]} must be positive")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"processes are immutable: make a new {type(self).__name__}({name}={value!r}) instead")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.parameters == other.parameters

    def __hash__(self) -> int:
        return hash((type(self), *self.parameters.values()))

    def __reduce__(self) -> tuple:
        return _rebuild, (type(self), dict(self.parameters))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.parameters.items())})"

    def check_times(self, t: Any) -> None:
        """Raises `TimeRangeError`, naming the value, unless every time lies in `domain`.

        >>> from odekit.processes import RectifiedFlow
        >>> RectifiedFlow().check_times(0.5)
        """
        elementwise(lambda s: self._checked_time(s)[1], t)

    def _checked_time(self, t: Any) -> tuple[type, Any]:
        kind, t = number(t)
        low, high = self.domain
        if kind is Tensors:
            outside = ~((t >= low) & (t <= high) & (t < math.inf))
            if not bool(outside.any()):
                return kind, t
            culprit = t[outside].flatten()[0].item()
        elif low <= t <= high and t < math.inf:
            return kind, t
        else:
            culprit = t
        end = "inf)" if math.isinf(high) else f"{high:g}]"
        raise TimeRangeError(f"t = {culprit} is outside the range of {type(self).__name__}, [{low:g}, {end}")


def _rebuild(process: type, parameters: dict[str, Any]) -> Process:
    return process(**parameters)
