"""Stochastic Runge-Kutta methods and exact solutions of SDEs on coloured rooted trees.

The solution of an SDE and one step of a method are sums over trees t of weights phi(t) F(t), where the vertices of
colour 0 are drift and those of colour k the k-th diffusion: phi(t) is an iterated integral, Phi(t) a polynomial in the
random variables of the step whose coefficients are weights of labelled trees (`stochastic.Weight`).
Source: Burrage, Burrage 2000; Roessler 2006; Debrabant, Kvaernoe 2008.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement
from itertools import product as choices
from typing import Any

from odekit.algebra.stochastic import Weight
from odekit.algebra.trees import AlgebraError

Plain = tuple[int, tuple]  # a tree: the colour of the root, the children sorted
Powers = tuple[int, ...]
Polynomial = dict[Powers, Fraction]

TIME = -1
"""The colour of time as an argument of additive noise: it only occurs as a leaf on a diffusion."""


@cache
def trees_of(weight: int, noises: int, additive: bool = False) -> tuple[Plain, ...]:
    """All trees of order weight/2 (drift counts 1, a noise 1/2) in so many noises.

    >>> [len(trees_of(n, 1)) for n in range(1, 5)], [len(trees_of(n, 1, additive=True)) for n in range(1, 5)]
    ([1, 2, 4, 10], [1, 1, 2, 2])
    """
    found = []
    for colour in range(noises + 1):
        rest = weight - (1 if colour else 2)
        if rest < 0:
            continue
        if additive and colour:
            found += [(colour, ((TIME, ()),) * (rest // 2))] if rest % 2 == 0 else []
        else:
            found += [(colour, children) for children in forests_of(rest, noises, additive)]
    return tuple(sorted(found))


@cache
def forests_of(weight: int, noises: int, additive: bool = False) -> tuple[tuple[Plain, ...], ...]:
    """All multisets of trees of total order weight/2."""

    def build(rest: int, largest: int) -> Iterator[tuple[Plain, ...]]:
        if rest == 0:
            yield ()
        for size in range(min(rest, largest), 0, -1):
            for times in range(1, rest // size + 1):
                for group in combinations_with_replacement(trees_of(size, noises, additive), times):
                    for others in build(rest - size * times, size - 1):
                        yield tuple(sorted(group + others))

    return tuple(build(weight, weight))


# Methods: which vectors and matrices meet which colours at which stages, with which random variables.


class Class:
    """A class of methods: `roots[k]` lists (vector, random factor, stage kind), `edges(stage, k)` likewise matrices."""

    def __init__(self, variables: tuple[str, ...], root: Callable, edge: Callable, noises: int):
        self.variables, self.root, self.edge, self.noises = variables, root, edge, noises

    def monomial(self, **powers: int) -> Polynomial:
        """A monomial of random variables; s is the square root of h."""
        return {tuple(powers.get(v, 0) for v in self.variables): Fraction(1)}


def scaled(p: Polynomial, factor: Any) -> Polynomial:
    """A multiple."""
    return {m: c * Fraction(factor) for m, c in p.items()}


def added(*parts: Polynomial) -> Polynomial:
    """The sum."""
    total: Polynomial = {}
    for p in parts:
        for m, c in p.items():
            total[m] = total.get(m, Fraction(0)) + c
    return {m: c for m, c in total.items() if c}


def times(p: Polynomial, q: Polynomial) -> Polynomial:
    """The product."""
    total: Polynomial = {}
    for m, a in p.items():
        for n, b in q.items():
            key = tuple(map(sum, zip(m, n, strict=True)))
            total[key] = total.get(key, Fraction(0)) + a * b
    return {m: c for m, c in total.items() if c}


def strong_class(family: str) -> Class:
    """SRA or SRI for one noise, in s = sqrt(h), W = I_1 and Z = I_10."""
    made = Class(("s", "W", "Z"), None, None, 1)
    one = made.monomial
    h, W, Z_over_h = one(s=2), one(W=1), one(Z=1, s=-2)
    I_11 = scaled(added(one(W=2, s=-1), scaled(one(s=1), -1)), Fraction(1, 2))  # over sqrt(h)
    I_111 = scaled(added(one(W=3, s=-2), scaled(one(W=1), -3)), Fraction(1, 6))  # over h
    noise = [("beta1", W), ("beta2", Z_over_h)]
    if family == "SRI":
        noise = [("beta1", W), ("beta2", I_11), ("beta3", Z_over_h), ("beta4", I_111)]
    made.root = lambda colour: [("alpha", h, "H0")] if colour == 0 else [(n, v, "H1") for n, v in noise]
    steps = {("H0", 0): [("A0", h, "H0")], ("H0", 1): [("B0", Z_over_h, "H1")]}
    if family == "SRI":
        steps |= {("H1", 0): [("A1", h, "H0")], ("H1", 1): [("B1", one(s=1), "H1")]}
    else:
        steps |= {("H1", TIME): [("c1", h, "")]}
    made.edge = lambda stage, colour: steps.get((stage, colour), [])
    return made


def weak_class(family: str, noises: int, independent: bool = False) -> Class:
    """RI or RS, in s = sqrt(h), the three-point variables I_k, and two-point variables J.

    With `independent` there is one J for each pair of noises; else the m - 1 of them that are published serve all
    pairs: I_kl = (I_k I_l - sqrt(h) J_k)/2 and I_lk = (I_k I_l + sqrt(h) J_k)/2 for k < l (RI, as implemented in
    SciML/StochasticDiffEq.jl), I_kl = -I_l J_k and I_lk = I_l J_k (RS: Roessler 2007, (5.2)).
    """
    pairs = [(k, j) for j in range(1, noises + 1) for k in range(1, j)]
    names = [f"J{k}_{j}" for k, j in pairs] if independent else [f"J{k}" for k in range(1, noises)]
    made = Class(("s", *(f"I{k}" for k in range(1, noises + 1)), *names), None, None, noises)
    one = made.monomial
    ito = family == "RI"

    def double(k: int, j: int) -> Polynomial:
        """I_kj over sqrt(h)."""
        if k == j:
            return scaled(added(one(**{f"I{k}": 2, "s": -1}), scaled(one(s=1), -1)), Fraction(1, 2))
        first, last, sign = min(k, j), max(k, j), -1 if k < j else 1
        J = {f"J{first}_{last}" if independent else f"J{first}": 1}
        if not ito:
            return scaled(one(**J) if independent else one(**J, **{f"I{last}": 1, "s": -1}), sign)
        product = one(**{f"I{k}": 1, f"I{j}": 1, "s": -1})
        return scaled(added(product, scaled(one(**J), sign)), Fraction(1, 2))

    def root(colour: int) -> list:
        if colour == 0:
            return [("alpha", one(s=2), ("H", 0))]
        increment, root_h = one(**{f"I{colour}": 1}), one(s=1)
        own, other = ("H", colour), ("K", colour)
        if ito:
            twice = double(colour, colour)
            return [
                ("beta1", increment, own),
                ("beta2", twice, own),
                ("beta3", increment, other),
                ("beta4", root_h, other),
            ]
        return [("beta1", increment, own), ("beta2", root_h, other)]

    def edge(stage: tuple[str, int], colour: int) -> list:
        kind, k = stage
        if colour == 0:
            return [("A0" if k == 0 else "A1" if kind == "H" else "A2", one(s=2), ("H", 0))]
        to = ("H", colour)
        if k == 0:
            return [("B0", one(**{f"I{colour}": 1}), to)]
        if kind == "K":
            return [("B2", double(k, colour), to)] if colour != k else []
        if ito:
            return [("B1", one(s=1), to)] if colour == k else []
        return [("B1" if colour == k else "B3", one(**{f"I{colour}": 1}), to)]

    made.root, made.edge = root, edge
    return made


def numeric(tree: Plain, method: Class) -> dict[Weight, Polynomial]:
    """Phi(t): a polynomial in the random variables for every weight that occurs."""
    return _labelled(tree, method.root(tree[0]), method)


def _labelled(tree: Plain, options: list, method: Class) -> dict[Weight, Polynomial]:
    total: dict[Weight, Polynomial] = {}
    for name, factor, stage in options:
        below = [_labelled(child, method.edge(stage, child[0]), method) for child in tree[1]]
        for combination in choices(*(part.items() for part in below)):
            label = Weight(name, tuple(sorted((w for w, _ in combination), key=str)))
            value = factor
            for _, p in combination:
                value = times(value, p)
            total[label] = added(total.get(label, {}), value)
    return total


# The exact solution.


def ito_integral(tree: Plain) -> Polynomial:
    """phi(t) for one noise in (s, W, Z), s^2 = h: iterated Ito integrals to order 3/2.

    >>> {m: str(c) for m, c in ito_integral((1, ((1, ()), (1, ())))).items()}  # W^3/3 - Z
    {(0, 3, 0): '1/3', (0, 0, 1): '-1'}
    """
    inner: Polynomial = {(0, 0, 0): Fraction(1)}
    for child in tree[1]:
        inner = times(inner, ito_integral(child))
    if any(m[2] for m in inner):
        raise AlgebraError(f"the integral of {tree} is no polynomial in W and Z")
    return added(*(scaled((_dt if tree[0] <= 0 else _dW)(m[1], m[0] // 2), c) for m, c in inner.items()))


def _dt(i: int, j: int) -> Polynomial:
    """The integral of W^i t^j dt."""
    if i == 0:
        return {(2 * j + 2, 0, 0): Fraction(1, j + 1)}
    if (i, j) == (1, 0):
        return {(0, 0, 1): Fraction(1)}
    raise AlgebraError(f"the integral of W^{i} t^{j} dt is no polynomial in W and Z")


def _dW(i: int, j: int) -> Polynomial:
    """The Ito integral of W^i t^j dW, by Ito's formula for W^(i+1) t^j."""
    found = {(2 * j, i + 1, 0): Fraction(1, i + 1)}
    if j:
        found = added(found, scaled(_dt(i + 1, j - 1), Fraction(-j, i + 1)))
    return added(found, scaled(_dt(i - 1, j), Fraction(-i, 2))) if i else found


@cache
def exact_mean(forest: tuple[Plain, ...], ito: bool = True) -> Fraction:
    """E of the product of phi(t) over a forest, at h = 1: Ito's formula takes one vertex or a pair off at a time.

    >>> I = (1, ())
    >>> [str(exact_mean((I,) * n)) for n in (1, 2, 4)], str(exact_mean(((1, (I,)),), ito=False))
    (['0', '1', '3'], '1/2')
    """
    if not forest:
        return Fraction(1)
    weight = sum(map(_weight, forest))
    if weight % 2:
        return Fraction(0)
    total = Fraction(0)

    def mean(trees: tuple[Plain, ...]) -> Fraction:
        return exact_mean(tuple(sorted(trees)), ito)

    for i, t in enumerate(forest):
        others = forest[:i] + forest[i + 1 :]
        if t[0] <= 0:
            total += mean(others + t[1])
            continue
        for k, u in enumerate(others):
            if u[0] == t[0] and k >= i:  # each pair once
                total += mean(others[:k] + others[k + 1 :] + t[1] + u[1])
        if not ito:  # half the bracket of the integrand itself
            for k, u in enumerate(t[1]):
                if u[0] == t[0]:
                    total += Fraction(1, 2) * mean(others + t[1][:k] + t[1][k + 1 :] + u[1])
    return total / Fraction(weight, 2)


def _weight(tree: Plain) -> int:
    return (1 if tree[0] > 0 else 2) + sum(map(_weight, tree[1]))
