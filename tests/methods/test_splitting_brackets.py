"""What the problems of splitting methods can testify to: which brackets of their parts are independent."""

import math
from functools import cache
from itertools import product

import numpy as np
import torch

import odekit as ok
from odekit.algebra.lie import words
from odekit.algebra.nystrom import vanishing
from odekit.fields.split import HEIGHTS, MASS, PHASES, WAVES


@cache
def exponents(degree):
    return [e for e in product(range(degree + 1), repeat=4) if sum(e) <= degree]


@cache
def pairing(degree):
    """Where the product of two monomials goes, for all pairs within the degree."""
    powers = np.array(exponents(degree))
    i, j = np.nonzero(powers.sum(1)[:, None] + powers.sum(1) <= degree)
    code = (degree + 1) ** np.arange(4)
    place = np.full(((degree + 1) ** 4,), -1)
    place[powers @ code] = np.arange(len(powers))
    return i, j, place[(powers[i] + powers[j]) @ code]


def times(f, g, degree):
    i, j, k = pairing(degree)
    return np.bincount(k, f[..., i] * g[..., j], len(exponents(degree)))


@cache
def lowered(degree, axis):
    """For each monomial that has the variable: it, the one of a power less, and the power."""
    place = {e: i for i, e in enumerate(exponents(degree))}
    rows = [(i, place[(*e[:axis], e[axis] - 1, *e[axis + 1 :])], e[axis]) for e, i in place.items() if e[axis]]
    return np.array(rows).T


def derivative(f, axis, degree):
    out, (i, below, power) = np.zeros_like(f), lowered(degree, axis)
    out[below] = power * f[i]
    return out


def poisson(f, g, degree):
    """{f, g} of functions of (q1, q2, p1, p2): the Hamiltonian of the bracket of their fields, up to its sign."""
    d = [[derivative(h, axis, degree) for axis in range(4)] for h in (f, g)]
    return sum(times(d[0][k], d[1][k + 2], degree) - times(d[0][k + 2], d[1][k], degree) for k in (0, 1))


def jets(start, relativistic, degree):
    """Taylor coefficients of T(p) and V(q) at a state (4,), to a degree."""
    place, n = {e: i for i, e in enumerate(exponents(degree))}, len(exponents(degree))

    def affine(constant, slopes):
        out = np.zeros(n)
        out[0] = constant
        for axis, s in slopes.items():
            out[place[tuple(int(k == axis) for k in range(4))]] = s
        return out

    momenta = [affine(start[2], {2: 1.0}), affine(start[3], {3: 1.0})]
    mass = MASS.numpy() if relativistic else np.eye(2)
    kinetic = sum(mass[i, j] * times(momenta[i], momenta[j], degree) for i in (0, 1) for j in (0, 1))
    if relativistic:  # the root of 1 + p M p, by Newton's iteration on power series
        square = kinetic + affine(1.0, {})
        kinetic = affine(square[0] ** 0.5, {})
        for _ in range(5):
            inverse = affine(1 / kinetic[0], {})
            for _ in range(4):
                inverse = times(inverse, 2 * affine(1.0, {}) - times(kinetic, inverse, degree), degree)
            kinetic = (kinetic + times(square, inverse, degree)) / 2
    else:
        kinetic = kinetic / 2
    potential = np.zeros(n)
    for (a, b), height, phase in zip(WAVES.numpy().T, HEIGHTS.numpy(), PHASES.numpy(), strict=True):
        angle, step, power = a * start[0] + b * start[1] + phase, affine(0.0, {0: a, 1: b}), affine(1.0, {})
        for k in range(degree + 1):
            potential -= height * math.cos(angle + k * math.pi / 2) / math.factorial(k) * power
            power = times(power, step, degree)
    return kinetic, potential


def standard(word):
    """The standard factorisation of a Lyndon word: its longest proper right factor that is Lyndon."""
    cut = next(k for k in range(1, len(word)) if all(word[k:] < word[i:] for i in range(k + 1, len(word))))
    return word[:cut], word[cut:]


def ranks(values, letters, order):
    """How many brackets of each grade are independent, of how many; values(word) -> numbers, any shape."""
    table, found = words(order, letters), []
    for grade in range(1, order + 1):
        columns = np.stack([np.ravel(values(tuple(table.words[i]))) for i in table.lyndon[grade]])
        size = np.linalg.norm(columns, axis=1, keepdims=True)
        columns = np.where(size > 1e-11 * size.max(), columns / np.maximum(size, 1e-300), 0)
        singular = np.linalg.svd(columns, compute_uv=False)
        found.append((int((singular > 1e-9 * singular[0]).sum()), len(columns)))
    return found


def hamiltonian_ranks(relativistic, order):
    degree, starts = order, np.random.default_rng(0).uniform(-1, 1, (10, 4))
    known = [jets(start, relativistic, degree) for start in starts]

    @cache
    def brackets(word):
        if len(word) == 1:
            return [pair[word[0]] for pair in known]
        left, right = standard(word)
        return [poisson(f, g, degree) for f, g in zip(brackets(left), brackets(right), strict=True)]

    def gradients(word):
        ones = [exponents(degree).index(tuple(int(k == axis) for k in range(4))) for axis in range(4)]
        return [f[ones] for f in brackets(word)]

    return ranks(gradients, ("A", "B"), order)


def test_the_hamiltonians_are_those_of_the_fields():
    for relativistic, name in ((True, "relativistic-pendulums"), (False, "pendulums")):
        parts = ok.problems.get(name).field.parts
        for start in np.random.default_rng(1).uniform(-1, 1, (3, 4)):
            kinetic, potential = jets(start, relativistic, 2)
            ones = [exponents(2).index(tuple(int(k == axis) for k in range(4))) for axis in range(4)]
            x = torch.tensor(start.reshape(1, 2, 2))
            assert np.allclose(parts["A"].velocity(x, 0)[0, 0], kinetic[ones[2:]], atol=1e-14)
            assert np.allclose(parts["B"].velocity(x, 0)[0, 1], -potential[ones[:2]], atol=1e-14)


def declared(name):
    problem = ok.problems.get(name)
    return problem.brackets.max_order, problem.nystrom.max_order


def test_relativistic_pendulums_see_every_bracket():
    assert declared("relativistic-pendulums") == (8, 8)
    assert all(rank == number for rank, number in hamiltonian_ranks(True, 8))


def test_pendulums_see_what_is_left_to_nystroem_methods():
    """Exactly the brackets that do not vanish by degree are independent: the problem testifies for Nystroem methods."""
    assert declared("pendulums") == (3, 8)
    found = hamiltonian_ranks(False, 8)
    assert [rank for rank, _ in found] == [number - len(vanishing(8, n)) for n, (_, number) in enumerate(found, 1)]
    assert found[3] == (2, 3)


def test_noncommuting_matrices_see_every_bracket():
    parts = {i: p.velocity(torch.eye(6).double(), 0).T.numpy() for i, p in enumerate(_parts("noncommuting-matrices"))}

    @cache
    def commutator(word):
        if len(word) == 1:
            return parts[word[0]]
        left, right = map(commutator, standard(word))
        return left @ right - right @ left

    assert all(rank == number for rank, number in ranks(commutator, ("A", "B"), 8))


def _parts(name):
    return ok.problems.get(name).field.parts.values()


def test_forced_spiral_sees_every_bracket_to_order_four():
    """Brackets of the fields of (x, t), by nested forward derivatives along words."""
    problem = ok.problems.get("forced-spiral")
    field, table = problem.field, words(4, ("A", "B", "C"))
    states = torch.rand(24, 2, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    z = torch.cat([states, torch.linspace(0, 3, 24).double()[:, None]], 1)

    def autonomous(letter):
        velocity, clock = field.parts[letter].velocity, float(letter == field.clock)
        return lambda z: torch.cat([velocity(z[:, :2], z[:, 2]), clock + 0 * z[:, 2:]], 1)

    fields = [autonomous(letter) for letter in "ABC"]

    @cache
    def derived(word):
        function = fields[word[-1]]
        for x in word[-2::-1]:

            def function(z, inner=function, f=fields[x]): return torch.func.jvp(inner, (z,), (f(z),))[1]  # fmt: skip # noqa: E704

        return function(z)[:, :2].numpy()

    def bracket(word):
        element = table.element({table.ids[word]: 1}).coefficients
        return sum(float(v) * derived(tuple(table.words[i])) for i, v in enumerate(element) if v)

    found = ranks(bracket, ("A", "B", "C"), 4)
    assert found == [(3, 3), (3, 3), (8, 8), (18, 18)] and declared("forced-spiral") == (4, 4)
