"""Samplers transcribed straight from their papers, in floats; none of them uses a class of odekit's methods.

Each is ``sampler(model, x, times, process)``: the model returns the noise.
"""

import math

import numpy as np
import torch


def phi(k, z):
    """phi_k by its Taylor series: 60 terms are exact for |z| < 8, and the sum is of one sign or barely cancels."""
    if abs(z) > 2:  # the recursion loses k!/|z|^k, little out here
        value = math.exp(z)
        for j in range(k):
            value = (value - 1 / math.factorial(j)) / z
        return value
    return math.fsum(z**j / math.factorial(j + k) for j in range(60))


class Flow:
    """What papers write alpha_t, sigma_t, lambda_t, eps_theta and x_theta."""

    def __init__(self, model, process):
        self.model, self.process = model, process

    def a(self, t):
        return float(self.process.alpha(t))

    def s(self, t):
        return float(self.process.sigma(t))

    def lam(self, t):
        return float(self.process.logsnr(t))

    def at(self, lam):
        return float(self.process.time_at_logsnr(lam))

    def eps(self, x, t):
        return self.model(x, torch.tensor(t, dtype=torch.float64))

    def data(self, x, t):
        return (x - self.s(t) * self.eps(x, t)) / self.a(t)


def singlestep(update):
    def sampler(model, x, times, process, **options):
        f = Flow(model, process)
        times = times.tolist()
        for s, t in zip(times[:-1], times[1:], strict=True):
            x = update(f, x, s, t, f.lam(t) - f.lam(s), **options)
        return x

    return sampler


@singlestep
def dpm_solver_2(f, x, s, t, h, r1=0.5, taylor=False):
    """arXiv 2206.00927, Algorithm 1 (and Algorithm 4 for r1); `taylor` as in the authors' code."""
    s1 = f.at(f.lam(s) + r1 * h)
    e = f.eps(x, s)
    u = f.a(s1) / f.a(s) * x - f.s(s1) * math.expm1(r1 * h) * e
    e1 = f.eps(u, s1)
    x = f.a(t) / f.a(s) * x - f.s(t) * math.expm1(h) * e
    if taylor:
        return x - f.s(t) / r1 * h * phi(2, h) * (e1 - e)
    return x - f.s(t) / (2 * r1) * math.expm1(h) * (e1 - e)


@singlestep
def dpm_solver_3(f, x, s, t, h, r1=1 / 3, r2=2 / 3, taylor=False):
    """arXiv 2206.00927, Algorithm 2 (Algorithm 5 for r1, r2); `taylor` as in the authors' code."""
    s1, s2 = f.at(f.lam(s) + r1 * h), f.at(f.lam(s) + r2 * h)
    e = f.eps(x, s)
    u1 = f.a(s1) / f.a(s) * x - f.s(s1) * math.expm1(r1 * h) * e
    D1 = f.eps(u1, s1) - e
    u2 = f.a(s2) / f.a(s) * x - f.s(s2) * math.expm1(r2 * h) * e - f.s(s2) * r2 / r1 * (r2 * h * phi(2, r2 * h)) * D1
    D2 = f.eps(u2, s2) - e
    x = f.a(t) / f.a(s) * x - f.s(t) * math.expm1(h) * e
    if taylor:
        slope = (r2 * D1 / r1 - r1 * D2 / r2) / (r2 - r1)
        bend = 2 * (D2 / r2 - D1 / r1) / (r2 - r1)
        return x - f.s(t) * h * phi(2, h) * slope - f.s(t) * h * phi(3, h) * bend
    return x - f.s(t) / r2 * h * phi(2, h) * D2


@singlestep
def dpmpp_2s(f, x, s, t, h, r1=0.5, taylor=False):
    """arXiv 2211.01095, Algorithm 1; with `taylor` RES-2S, arXiv 2308.02157."""
    s1 = f.at(f.lam(s) + r1 * h)
    d = f.data(x, s)
    u = f.s(s1) / f.s(s) * x - f.a(s1) * math.expm1(-r1 * h) * d
    D = f.data(u, s1) - d
    weight = h * phi(2, -h) / r1 if taylor else -math.expm1(-h) / (2 * r1)
    return f.s(t) / f.s(s) * x - f.a(t) * math.expm1(-h) * d + f.a(t) * weight * D


@singlestep
def dpmpp_3s(f, x, s, t, h, r1=1 / 3, r2=2 / 3, taylor=False):
    """The authors' code, singlestep of order 3 with data prediction."""
    s1, s2 = f.at(f.lam(s) + r1 * h), f.at(f.lam(s) + r2 * h)
    phi_22, phi_2 = math.expm1(-r2 * h) / (r2 * h) + 1, math.expm1(-h) / h + 1
    phi_3 = phi_2 / h - 0.5
    d = f.data(x, s)
    u1 = f.s(s1) / f.s(s) * x - f.a(s1) * math.expm1(-r1 * h) * d
    d1 = f.data(u1, s1)
    u2 = f.s(s2) / f.s(s) * x - f.a(s2) * math.expm1(-r2 * h) * d + r2 / r1 * f.a(s2) * phi_22 * (d1 - d)
    d2 = f.data(u2, s2)
    x = f.s(t) / f.s(s) * x - f.a(t) * math.expm1(-h) * d
    if taylor:
        D10, D11 = (d1 - d) / r1, (d2 - d) / r2
        slope, bend = (r2 * D10 - r1 * D11) / (r2 - r1), 2 * (D11 - D10) / (r2 - r1)
        return x + f.a(t) * phi_2 * slope - f.a(t) * phi_3 * bend
    return x + f.a(t) / r2 * phi_2 * (d2 - d)


@singlestep
def res_3s(f, x, s, t, h, c2=0.5, c3=1.0):
    """Hochbruck & Ostermann 2005, section 5.2, with gamma from 2 (gamma c2 + c3) = 3 (gamma c2^2 + c3^2)."""
    gamma = (3 * c3**2 - 2 * c3) / (c2 * (2 - 3 * c2))
    s2, s3 = f.at(f.lam(s) + c2 * h), f.at(f.lam(s) + c3 * h) if c3 != 1 else t
    d = f.data(x, s)
    d2 = f.data(f.s(s2) / f.s(s) * x + f.a(s2) * h * c2 * phi(1, -c2 * h) * d, s2)
    a32 = gamma * c2 * phi(2, -c2 * h) + c3**2 / c2 * phi(2, -c3 * h)
    d3 = f.data(f.s(s3) / f.s(s) * x + f.a(s3) * h * ((c3 * phi(1, -c3 * h) - a32) * d + a32 * d2), s3)
    b3 = phi(2, -h) / (gamma * c2 + c3)
    mixed = (phi(1, -h) - (gamma + 1) * b3) * d + gamma * b3 * d2 + b3 * d3
    return f.s(t) / f.s(s) * x + f.a(t) * h * mixed


def cox_matthews_last(z):
    """The weights of (26)-(29) in Cox & Matthews 2002 as printed there, in 40 digits: they cancel like 1/z^3."""
    import mpmath

    with mpmath.workdps(40):
        z = mpmath.mpf(z)
        e = mpmath.exp(z)
        first = (-4 - z + e * (4 - 3 * z + z**2)) / z**3
        middle = (2 + z + e * (-2 + z)) / z**3
        last = (-4 - 3 * z - z**2 + e * (4 - z)) / z**3
        return float(first), float(middle), float(last)


@singlestep
def etdrk4(f, x, s, t, h):
    """Cox & Matthews 2002, (26)-(29), for x/alpha and the data: c = -1."""
    m = f.at(f.lam(s) + h / 2)
    half, whole = math.exp(-h / 2), math.exp(-h)
    step = -math.expm1(-h / 2)  # (e^(ch/2) - 1)/c
    u = x / f.a(s)
    d = f.data(x, s)
    a = half * u + step * d
    da = f.data(f.a(m) * a, m)
    db = f.data(f.a(m) * (half * u + step * da), m)
    dc = f.data(f.a(t) * (half * a + step * (2 * db - d)), t)
    first, middle, last = cox_matthews_last(-h)
    return f.a(t) * (whole * u + h * (first * d + 2 * middle * (da + db) + last * dc))


@singlestep
def lawson4(f, x, s, t, h):
    """Lawson 1967: the classical method of order 4 on v = e^(tau) x/alpha, where dv/dtau = e^(tau) data."""
    m = f.at(f.lam(s) + h / 2)

    def slope(v, tau, at):
        return math.exp(tau) * f.data(f.a(at) * math.exp(-tau) * v, at)

    v = x / f.a(s)
    k1 = slope(v, 0.0, s)
    k2 = slope(v + h / 2 * k1, h / 2, m)
    k3 = slope(v + h / 2 * k2, h / 2, m)
    k4 = slope(v + h * k3, h, t)
    return f.a(t) * math.exp(-h) * (v + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))


def exponential(tableau, prediction):
    """Hochbruck & Ostermann 2005, (2.2), for u = x/sigma and g = -noise, or u = x/alpha and g = data."""

    @singlestep
    def sampler(f, x, s, t, h):
        z, scale = (h, f.s) if prediction == "noise" else (-h, f.a)
        c, A, b = tableau.coefficients(z)
        u, g = x / scale(s), []
        for node, row in zip(c, A, strict=True):
            at = {0: s, 1: t}.get(node) if node in (0, 1) else f.at(f.lam(s) + node * h)
            stage = math.exp(node * z) * u + sum((h * w * k for w, k in zip(row, g, strict=False)), 0 * u)
            g.append(-f.eps(scale(at) * stage, at) if prediction == "noise" else f.data(scale(at) * stage, at))
        return scale(t) * (math.exp(z) * u + sum(h * w * k for w, k in zip(b, g, strict=True)))

    return sampler


def dpmpp_multistep(model, x, times, process, order=3, factor=1, heun=False):
    """The authors' code, multistep with data prediction, orders 1, 2, ...; `factor` 2 corrects the third."""
    f, old = Flow(model, process), []
    times = times.tolist()
    for i, (s, t) in enumerate(zip(times[:-1], times[1:], strict=True)):
        h = f.lam(t) - f.lam(s)
        phi_1, phi_2 = math.expm1(-h), math.expm1(-h) / h + 1
        phi_3 = phi_2 / h - 0.5
        d = f.data(x, s)
        moved = f.s(t) / f.s(s) * x - f.a(t) * phi_1 * d
        if len(old) >= 1:
            r0 = (f.lam(s) - f.lam(times[i - 1])) / h
            D10 = (d - old[0]) / r0
            if order == 2 or len(old) == 1:
                moved = moved + f.a(t) * (phi_2 if heun else -phi_1 / 2) * D10
            else:
                r1 = (f.lam(times[i - 1]) - f.lam(times[i - 2])) / h
                D11 = (old[0] - old[1]) / r1
                D1 = D10 + r0 / (r0 + r1) * (D10 - D11)
                D2 = (D10 - D11) / (r0 + r1)
                moved = moved + f.a(t) * phi_2 * D1 - factor * f.a(t) * phi_3 * D2
        old, x = [d, *old][:2], moved
    return x


def unipc(model, x, times, process, order=3, variant="bh2", noise=False, corrector=True):
    """arXiv 2302.04867 as in the authors' code (uni_pc_bh_update), orders 1, 2, ..., the last step not corrected."""
    f, times = Flow(model, process), times.tolist()
    ask = f.eps if noise else f.data
    outputs, at = [ask(x, times[0])], [times[0]]
    for i, t in enumerate(times[1:], start=1):
        s, p = times[i - 1], min(order, i)
        h = f.lam(t) - f.lam(s)
        z = h if noise else -h
        nodes = [(f.lam(at[-1 - m]) - f.lam(s)) / h for m in range(1, p)] + [1.0]
        D = [(outputs[-1 - m] - outputs[-1]) / nodes[m - 1] for m in range(1, p)]
        B = z if variant == "bh1" else math.expm1(z)
        R = np.array([[r**j for r in nodes] for j in range(p)])
        b = np.array([math.factorial(j) * z * phi(j + 1, z) / B for j in range(1, p + 1)])
        short = variant != "vary"
        ahead = [0.5] if p == 2 and short else np.linalg.solve(R[:-1, :-1], b[:-1])
        behind = [0.5] if p == 1 and short else np.linalg.solve(R, b)
        own, scale = (f.a, f.s) if noise else (f.s, f.a)
        base = own(t) / own(s) * x - scale(t) * math.expm1(z) * outputs[-1]
        x = base - scale(t) * B * sum((w * d for w, d in zip(ahead, D, strict=True)), 0 * x)
        if i < len(times) - 1:
            new = ask(x, t)
            if corrector:
                D = [*D, new - outputs[-1]]
                x = base - scale(t) * B * sum(w * d for w, d in zip(behind, D, strict=True))
            outputs, at = [*outputs, new], [*at, t]
    return x
