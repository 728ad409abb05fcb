"""Antiderivatives in mpmath numbers: Chebyshev panels of one width, made when they are first asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..exceptions import OdekitError

GUARD = 30  # bits beyond the working precision
COUNTS = (32, 64, 128, 256)


class ExactAntiderivative:
    """x -> int_high^x f for x below ``high``, in mpmath numbers of the ambient precision; zero at ``high``.

    `f` maps an mpmath number to one and is analytic; ``high()`` gives the upper end at the ambient precision. Panels
    are laid from there down, as far as they are needed, and kept for each precision. A panel has converged when its
    last coefficients are rounding; `OdekitError` where 256 points do not suffice.

    >>> from mpmath import mp
    >>> table = ExactAntiderivative(mp.exp, lambda: mp.mpf(0), 0.5)
    >>> with mp.workdps(40):
    ...     bool(abs(table(mp.mpf(-1)) - (mp.exp(-1) - 1)) < mp.mpf(10) ** -39)
    True
    """

    def __init__(self, f: Callable[[Any], Any], high: Callable[[], Any], width: float):
        self.f, self.high, self.width = f, high, width
        self._known: dict[int, list[tuple]] = {}  # bits -> [(integral from high to the panel, series), ...]

    def __call__(self, x: Any) -> Any:
        from mpmath import mp

        with mp.workprec(mp.prec + GUARD):
            down = (self.high() - x) / self.width
            k = max(0, int(mp.floor(down)))
            panels = self._known.setdefault(mp.prec, [])
            while len(panels) <= k:
                panels.append(self._panel(len(panels), panels))
            above, series = panels[k]
            value = above + _clenshaw(series, 1 - 2 * (down - k))
        return +value

    def _panel(self, k: int, before: list[tuple]) -> tuple:
        """(int to the panel's upper end, the series of the integral from there) of panel k."""
        from mpmath import mp

        half = mp.mpf(self.width) / 2
        middle = self.high() - (2 * k + 1) * half
        for count in COUNTS:
            nodes, transform = _rule(count, mp.prec)
            values = [self.f(middle + half * x) for x in nodes]
            series = [mp.fdot(row, values) for row in transform]
            if max(map(abs, series[-3:])) <= max(map(abs, series)) * mp.ldexp(1, GUARD // 2 - mp.prec):
                break
        else:
            raise OdekitError(
                f"a table to {mp.dps} digits wants more than {COUNTS[-1]} points in a panel: expected a smooth function"
            )
        integrated = _integrated(series, half)
        above = before[-1][0] + _clenshaw(before[-1][1], mp.mpf(-1)) if before else mp.mpf(0)
        return above, integrated


def _integrated(series: list, half: Any) -> list:
    """The Chebyshev series of the antiderivative over a panel, zero at its upper end."""
    padded = [*series, 0, 0]
    found = [0, half * (padded[0] - padded[2] / 2)]
    found += [half * (padded[k - 1] - padded[k + 1]) / (2 * k) for k in range(2, len(series) + 1)]
    found[0] = -sum(found[1:])
    return found


@functools.lru_cache(maxsize=16)
def _rule(count: int, bits: int) -> tuple[list, list]:
    """Chebyshev's nodes of the first kind, and the matrix that takes values there to coefficients, at ``bits``."""
    from mpmath import mp

    cosines = [mp.cos(mp.pi * j / (2 * count)) for j in range(4 * count)]  # every entry is one of these
    rows = [[2 * cosines[k * (2 * j + 1) % (4 * count)] / count for j in range(count)] for k in range(count)]
    rows[0] = [entry / 2 for entry in rows[0]]
    return [cosines[2 * j + 1] for j in range(count)], rows


def _clenshaw(series: list, x: Any) -> Any:
    later, last = 0 * x, 0 * x
    for coefficient in reversed(series[1:]):
        last, later = 2 * x * last - later + coefficient, last
    return x * last - later + series[0]
