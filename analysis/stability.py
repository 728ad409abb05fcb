"""Where a method is stable, as numbers and as figures: regions, loci, order stars, intervals of splittings.

Every family answers one question on a raster: by how much does a step multiply the solution of its test equation?
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from odekit.exceptions import OdekitError

SIZE = 320  # points a side of a raster
SHIFTS = (0.0, -1.0, -3.0, -8.0)  # values of z at which exponential methods are drawn over w
SHOWN = ("rk4", "dp5", "radau-iia-3", "ab-4", "abm-4", "bdf-4", "krogstad4", "dpmpp-2m", "strang")
FAR = 60.0  # a region that reaches this far is unbounded
Growth = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Region:
    """Growth factors of one method over a plane: stable where they are at most one.

    `growths`: label -> how much a step multiplies the solution at complex points, an array of the same shape; several
    for exponential methods, one for each value of z. `locus`: points where a root lies on the unit circle, if known.
    `star`: growth is compared with |exp|, the order star of Wanner, Hairer and Norsett (1978).
    """

    name: str
    growths: dict[str, Growth]
    variable: str = "z = h\u03bb"
    locus: np.ndarray | None = None
    star: bool = False

    def growth(self, points: Any, label: str | None = None) -> np.ndarray:
        """The growth factor of a step at complex points, divided by |exp| for an order star.

        >>> [round(float(g), 3) for g in stability("rk4").growth([-2.7, -2.9])]
        [0.879, 1.187]
        """
        points = np.asarray(points, dtype=complex)
        with np.errstate(all="ignore"):
            found = self.growths[label or next(iter(self.growths))](points)
            found = found / abs(np.exp(points)) if self.star else found
        return np.nan_to_num(found, nan=np.inf, posinf=np.inf)

    def contains(self, points: Any) -> np.ndarray:
        """Whether the method is stable at complex points."""
        return self.growth(points) <= 1 + 1e-12

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) of the part of the plane that shows the region."""
        if self.star:
            return -5.0, 5.0, -5.0, 5.0
        boxes = [_box(lambda points, label=label: self.growth(points, label)) for label in self.growths]
        left, right, top = min(b[0] for b in boxes), max(b[1] for b in boxes), max(b[2] for b in boxes)
        return left, right, -top, top

    def raster(self, size: int = SIZE, label: str | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(x (size,), y (size,), growth (size, size)) over `box`."""
        left, right, bottom, top = self.box
        x, y = np.linspace(left, right, size), np.linspace(bottom, top, size)
        return x, y, self.growth(x + 1j * y[:, None], label)

    def plot(self, axes: Any = None) -> Any:
        """Draw the region, or the order star; returns the matplotlib axes (new ones without `axes`)."""
        from analysis.figures import COLOURS

        axes = _axes(axes)
        several = len(self.growths) > 1
        for colour, label in zip(COLOURS, self.growths, strict=False):
            x, y, growth = self.raster(label=label)
            growth = np.clip(growth, 0, 1e3)
            if not several:
                inside = (1, 1e3) if self.star else (-1, 1)
                axes.contourf(x, y, growth, inside, colors=[colour], alpha=0.22, zorder=2)
            axes.contour(x, y, growth, [1], colors=[colour], linewidths=1.2, zorder=3)
            if several:
                axes.plot([], [], color=colour, label=label)  # contours do not enter a legend
        if self.locus is not None:
            axes.plot(self.locus.real, self.locus.imag, color="#5b6470", lw=0.7, ls=(0, (4, 2)), zorder=4)
        axes.axhline(0, color="#9aa3ad", lw=0.7, zorder=1)
        axes.axvline(0, color="#9aa3ad", lw=0.7, zorder=1)
        left, right, bottom, top = self.box
        axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        letter = self.variable.split(" ")[0]
        axes.set_xlabel(f"Re {letter}")
        axes.set_ylabel(f"Im {letter}")
        what = "order star, |R| > |exp|" if self.star else f"stable, {self.variable}"
        axes.set_title(f"{self.name}: {what}", fontsize=9, loc="left")
        if several:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        return axes


@dataclass(frozen=True)
class Oscillator:
    """A splitting method on the harmonic oscillator q' = p, p' = -q: half the trace of a step over h omega.

    Stable where it stays between -1 and 1; `proof` is the certificate, whose numbers are drawn.
    Source: Blanes, Casas, Murua 2008, On the linear stability of splitting methods; McLachlan, Gray 1997.

    >>> [float(value) for value in stability("strang").half_trace(np.array([0.0, 1.0, 2.0]))]
    [1.0, 0.5, -1.0]
    """

    name: str
    proof: Any

    def half_trace(self, h: Any) -> Any:
        """Half the trace of the matrix of a step, for step sizes h omega."""
        return self.proof.half_trace(h)

    @property
    def limit(self) -> float:
        """The largest h omega up to which every step is stable; 0 where none is."""
        return self.proof.stability_interval

    def plot(self, axes: Any = None) -> Any:
        """Draw half the trace over h omega; returns the matplotlib axes."""
        from analysis.figures import COLOURS

        axes = _axes(axes)
        limit = self.limit
        h = np.linspace(0, 1.35 * max(limit, 0.5), 600)
        axes.axhspan(-1, 1, color=COLOURS[0], alpha=0.1, lw=0)
        axes.plot(h, self.half_trace(h), color=COLOURS[0], zorder=3)
        if limit:
            axes.axvline(limit, color="#5b6470", lw=0.8, ls=(0, (4, 2)))
            axes.annotate(f"{limit:.4g}", (limit, 1.35), xytext=(3, 0), textcoords="offset points", fontsize=8)
        axes.set(xlim=(0, h[-1]), ylim=(-1.8, 1.8), xlabel="h\u03c9", ylabel="half the trace of a step")
        axes.set_title(f"{self.name}: stable on the oscillator", fontsize=9, loc="left")
        return axes


def stability(method: Any, star: bool = False) -> Region | Oscillator:
    """The stability of a method, by its family: a Region of the complex plane, or an Oscillator for splittings.

    `method` as for `odekit.algebra.certificate`. Runge-Kutta methods and multistep methods (predictor-corrector pairs
    too) in z = h lambda; exponential ones in w = h mu for u' = lambda u + mu u at several real z = h lambda; on equal
    steps. `star`: the order star instead, for Runge-Kutta methods. Raises OdekitError for what has no such region.

    >>> bool(stability("rk4").contains(-2.785)), bool(stability("rk4").contains(-2.786))
    (True, False)
    """
    from odekit.algebra.certificates import exact_object

    given = exact_object(method)
    kinds = [kind.__name__ for kind in type(given).__mro__]
    make = next((_FAMILIES[kind] for kind in kinds if kind in _FAMILIES), None)
    name = getattr(method, "name", None) or getattr(given, "name", "method")
    if make is None:
        raise OdekitError(f"{name}: no stability region for {kinds[0]}; expected one of {', '.join(_FAMILIES)}")
    if star and make is not _runge_kutta:
        raise OdekitError(f"{name}: an order star is drawn for a Runge-Kutta method, this is {kinds[0]}")
    return make(given, name, star) if make is _runge_kutta else make(given, name)


def _runge_kutta(given: Any, name: str, star: bool = False) -> Region:
    from odekit.algebra.stability import stability_function

    R = stability_function(given)
    return Region(name, {"": lambda z: abs(R(z))}, star=star)


def _multistep(given: Any, name: str) -> Region:
    from odekit.algebra.multistep_stability import locus

    alpha, beta = (np.array([float(v) for v in part]) for part in (given.alpha, given.beta))

    def growth(z: np.ndarray) -> np.ndarray:
        z = z[..., None]
        return largest_root((z * beta[1:] - alpha[1:]) / (alpha[0] - z * beta[0]))

    curve = locus(given, np.linspace(0, 2 * np.pi, 1201))
    return Region(name, {"": growth}, locus=curve)


def _adams(given: Any, name: str) -> Region:
    """An Adams method on equal steps in its clock; a predictor-corrector pair as one recursion, z squared in it."""
    from odekit.algebra.multistep import adams_bashforth, adams_moulton
    from odekit.methods.adams_properties import in_log_snr

    k = given.k
    if given.clock == "logsnr" and given.prediction in ("noise", "data") and not given.corrector:
        return _exponential_multistep(in_log_snr(k, lumped=given.rule == "lumped", equal=True), name)
    if not given.corrector or k == 1:
        return _multistep(adams_bashforth(k), name)
    ahead, after = (np.array([float(b) for b in f.beta]) for f in (adams_bashforth(k - 1), adams_moulton(k)))
    steps = max(len(ahead), len(after)) - 1
    predictor, corrector = (np.pad(b[1:], (0, steps - len(b) + 1)) for b in (ahead, after))
    now = np.eye(steps)[0]

    def growth(z: np.ndarray) -> np.ndarray:
        z = z[..., None]
        return largest_root(now + z * (after[0] * (now + z * predictor) + corrector))

    return Region(name, {"": growth})


def _exponential(given: Any, name: str) -> Region:
    if given.parameters:
        free = ", ".join(given.parameters)
        raise OdekitError(f"{name}: a stability region needs numbers for {free}; give them with .substitute(...)")

    def at(z: float) -> Growth:
        c, A, b = given.coefficients(z)
        A, b, start = np.array(A, dtype=float), np.array(b, dtype=float), np.exp(np.array(c, dtype=float) * z)

        def growth(w: np.ndarray) -> np.ndarray:
            w = w[..., None]
            right = np.broadcast_to(start, (*w.shape[:-1], len(b)))[..., None]
            stages = np.linalg.solve(np.eye(len(b)) - w[..., None] * A, right)[..., 0]
            return abs(np.exp(z) + w[..., 0] * (stages @ b))

        return growth

    return Region(name, {_at(z): at(z) for z in SHIFTS}, "w = h\u03bc")


def _exponential_multistep(given: Any, name: str) -> Region:
    values = {parameter: 1.0 for parameter in given.parameters}  # equal steps

    def at(z: float) -> Growth:
        nodes, weights = given.coefficients(z, **values)
        back = {-round(float(x)): float(w) for x, w in zip(nodes, weights, strict=True)}  # 0: now, 1: before, -1: ahead
        older = np.array([back.get(j, 0.0) for j in range(max(back) + 1)])
        kept = np.exp(z) * np.eye(len(older))[0]

        def growth(w: np.ndarray) -> np.ndarray:
            w = w[..., None]
            return largest_root((kept + w * older) / (1 - w * back.get(-1, 0.0)))

        return growth

    return Region(name, {_at(z): at(z) for z in SHIFTS}, "w = h\u03bc")


def _splitting(given: Any, name: str) -> Oscillator:
    from odekit.algebra.splitting_properties import splitting_certificate

    proof = splitting_certificate(given)
    if proof.stability_interval is None:
        raise OdekitError(f"{name}: the oscillator has two parts, kick and drift; this splits others")
    return Oscillator(name, proof)


def _at(z: float) -> str:
    return f"z = {z:g}".replace("-", "\u2212")


_FAMILIES: dict[str, Callable[..., Any]] = {
    "Tableau": _runge_kutta,
    "Scheme": _runge_kutta,
    "tuple": _runge_kutta,
    "Multistep": _multistep,
    "Adams": _adams,
    "ExponentialTableau": _exponential,
    "ExponentialMultistep": _exponential_multistep,
    "Splitting": _splitting,
    "Processed": _splitting,
}


def largest_root(coefficients: np.ndarray) -> np.ndarray:
    """The largest modulus of the roots of x^k = a_1 x^(k-1) + ... + a_k, coefficients along the last axis.

    >>> largest_root(np.array([[0.0, 4.0], [3.0, -2.0]])).round(12).tolist()
    [2.0, 2.0]
    """
    coefficients = np.nan_to_num(coefficients, nan=1e9, posinf=1e9, neginf=-1e9)
    k = coefficients.shape[-1]
    companion = np.zeros((*coefficients.shape[:-1], k, k), dtype=complex)
    companion[..., 0, :] = coefficients
    companion[..., range(1, k), range(k - 1)] = 1
    return abs(np.linalg.eigvals(companion)).max(axis=-1)


def _box(growth: Growth) -> tuple[float, float, float]:
    """(left, right, top) of the stable part of the plane at the origin, by looking closer until it fills the view."""
    from scipy.ndimage import label

    left, right, top = -FAR, FAR / 2, FAR
    for look in range(12):
        x, y = np.linspace(left, right, 121), np.linspace(0, top, 121)
        points = x + 1j * y[:, None]
        stable = growth(points) <= 1
        parts, _ = label(stable)
        near = np.unravel_index(np.argmin(np.where(stable, abs(points), np.inf)), stable.shape)
        rows, columns = np.nonzero((parts == parts[near]) & stable)
        if not len(rows):
            left, right, top = left / 8, right / 8, top / 8
            continue
        reach = x[columns.min()], x[columns.max()], y[rows.max()]
        touches = columns.min() == 0 or rows.max() == len(y) - 1
        if look == 0 and touches:
            far = _reach_of_instability(growth)
            return -far, far, far
        width = max(reach[1] - reach[0], reach[2])
        fills = width > 0.4 * max(right - left, top)
        margin = 1.0 * width + 1e-3 if touches else 0.2 * width
        left, right, top = reach[0] - margin, max(reach[1], 0.0) + margin, reach[2] + margin
        if fills and not touches:
            break
    return float(left), float(right), float(top)


def _reach_of_instability(growth: Growth) -> float:
    """How much of the plane shows where an unbounded region ends: the unstable part, within [3, 20]."""
    x = np.linspace(-20, 20, 200)
    points = x + 1j * np.abs(x)[:, None]
    out = abs(points[(growth(points) > 1) & (points.real > 0) & (abs(points) < 19)])
    return float(np.clip(1.3 * (out.max() if len(out) else 3), 3, 20))


def _axes(axes: Any) -> Any:
    if axes is not None:
        return axes
    from matplotlib import pyplot

    from analysis.figures import STYLE

    with pyplot.rc_context(STYLE):
        return pyplot.subplots(layout="constrained")[1]


def draw_stability(methods: Sequence[Any], folder: Path) -> list[Path]:
    """A figure a method as PNG, SVG and PDF, of Runge-Kutta methods the order star as well; the paths written."""
    from analysis.figures import write

    paths = []
    for method in methods:
        found = stability(method)
        paths += write(folder / f"stability-{found.name}", found.plot)
        with contextlib.suppress(OdekitError):  # only Runge-Kutta methods have one
            paths += write(folder / f"order-star-{found.name}", stability(method, star=True).plot)
    return paths
