"""PNDM's family, EDM's samplers, k-diffusion's, DEIS and SA-Solver transcribed from print, in floats.

Each is ``sampler(model, x, times, process)``; the model returns the noise. None uses a class of odekit's methods.
"""

import math

import numpy as np
import torch
from scipy.integrate import quad

AB = {1: (1,), 2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}


class Noise:
    """eps(x, t) and alpha-bar of a variance-preserving process."""

    def __init__(self, model, process):
        self.model, self.process = model, process

    def __call__(self, x, t):
        return self.model(x, torch.tensor(t, dtype=torch.float64))

    def abar(self, t):
        return float(self.process.alpha(t)) ** 2


def phi(eps, x, e, t, s):
    """The transfer part, PNDM eq. 11, with the roots of its alpha-bar."""
    at, as_ = eps.abar(t), eps.abar(s)
    part = x / (math.sqrt(at) * (math.sqrt(as_) + math.sqrt(at)))
    noise = e / (math.sqrt(at) * (math.sqrt((1 - as_) * at) + math.sqrt((1 - at) * as_)))
    return x + (as_ - at) * (part - noise)


def transfer(process):
    """phi where alpha-bar is not all: x/alpha moves by the step in sigma/alpha."""
    if abs(float(process.alpha(0.5)) ** 2 + float(process.sigma(0.5)) ** 2 - 1) < 1e-12:
        return phi

    def move(eps, x, e, t, s):
        a, k = ([float(f(v)) for v in (t, s)] for f in (process.alpha, process.kappa))
        return a[1] * (x / a[0] + (k[1] - k[0]) * e)

    return move


def improved_euler(eps, move, x, t, s, e):
    return move(eps, x, (e + eps(move(eps, x, e, t, s), s)) / 2, t, s)


def pseudo_rk4(eps, move, x, t, s, e):
    m = (t + s) / 2
    e2 = eps(move(eps, x, e, t, m), m)
    e3 = eps(move(eps, x, e2, t, m), m)
    e4 = eps(move(eps, x, e3, t, s), s)
    return move(eps, x, (e + 2 * e2 + 2 * e3 + e4) / 6, t, s)


def pndm(order, start=None, opening=0):
    """The first ``opening`` steps by ``start``, then AB of rising order over what history there is."""

    def sampler(model, x, times, process):
        eps, move, old, times = Noise(model, process), transfer(process), [], times.tolist()
        for i, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
            old = [eps(x, t), *old][:order]
            if i < opening:
                x = start(eps, move, x, t, s, old[0])
            else:
                x = move(eps, x, sum(w * e for w, e in zip(AB[len(old)], old, strict=True)), t, s)
        return x

    return sampler


def one_step(start):
    return pndm(1, start, opening=10**9)


def fon(order, opening):
    """Classical AB on dx/dt, eq. 0.2, after as many steps of RK4 (order 4) or of improved Euler (order 2)."""

    def sampler(model, x, times, process):
        eps, old, times = Noise(model, process), [], times.tolist()

        def rate(x, t):
            return float(process.alpha_rate(t) / process.alpha(t)) * x + float(
                process.sigma_rate(t) - process.alpha_rate(t) / process.alpha(t) * process.sigma(t)
            ) * eps(x, t)

        for i, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
            h, k = s - t, rate(x, t)
            old = [k, *old][:order]
            if i >= opening:
                x = x + h * sum(w * d for w, d in zip(AB[order], old, strict=True))
            elif order == 2:
                x = x + h / 2 * (k + rate(x + h * k, s))
            else:
                k2 = rate(x + h / 2 * k, t + h / 2)
                k3 = rate(x + h / 2 * k2, t + h / 2)
                x = x + h / 6 * (k + 2 * k2 + 2 * k3 + rate(x + h * k3, s))
        return x

    return sampler


def in_kappa(step):
    """A sampler on x/alpha and sigma/alpha: ``step(d, u, s, t, back)``, d(u, kappa) the noise."""

    def sampler(model, x, times, process):
        eps, times = Noise(model, process), times.tolist()
        u = x / float(process.alpha(times[0]))

        def d(u, kappa):
            t = float(process.time_at_kappa(kappa))
            return eps(u * float(process.alpha(t)), t)

        kappas, memory = [float(process.kappa(t)) for t in times], []
        for i, (s, t) in enumerate(zip(kappas[:-1], kappas[1:], strict=True)):
            u = step(d, u, s, t, kappas[: i + 1], memory)
        return u * float(process.alpha(times[-1]))

    return sampler


@in_kappa
def dpm2(d, u, s, t, *_):
    """k-diffusion, sample_dpm_2 without churn: the midpoint in log sigma."""
    first, mid = d(u, s), math.exp((math.log(s) + math.log(t)) / 2)
    return u + d(u + first * (mid - s), mid) * (t - s)


def lms(order):
    """k-diffusion, sample_lms: integrals of Lagrange polynomials in sigma."""

    @in_kappa
    def step(d, u, s, t, back, memory):
        memory.insert(0, d(u, s))
        nodes = back[::-1][:order]

        def basis(j):
            others = [k for i, k in enumerate(nodes) if i != j]
            return lambda tau: math.prod((tau - k) / (nodes[j] - k) for k in others)

        weights = [quad(basis(j), s, t, epsabs=1e-14, epsrel=1e-13)[0] for j in range(len(nodes))]
        return u + sum(w * e for w, e in zip(weights, memory, strict=False))

    return step


def log_rho(points):
    """DEIS in diffusers: Lagrange polynomials in log rho, weight d rho (integrated by adaptive quadrature)."""

    @in_kappa
    def step(d, u, s, t, back, memory):
        memory.insert(0, d(u, s))
        logs = [math.log(k) for k in back[::-1][:points]]

        def integrand(j):
            return lambda r: math.prod((math.log(r) - a) / (logs[j] - a) for i, a in enumerate(logs) if i != j)

        weights = [quad(integrand(j), s, t, epsabs=1e-14, epsrel=1e-13)[0] for j in range(len(logs))]
        return u + sum(w * e for w, e in zip(weights, memory, strict=False))

    return step


# gDDIM's repository and the DEIS repository print these as (c, rows of A, b).
DEIS_RK = {
    "1euler": ((0,), ((),), (1,)),
    "2heun": ((0, 1), ((), (1,)), (1 / 2, 1 / 2)),
    "3kutta": ((0, 0.5, 1), ((), (0.5,), (-1, 2)), (1 / 6, 4 / 6, 1 / 6)),
    "3ral": ((0, 1 / 2, 3 / 4), ((), (1 / 2,), (0, 3 / 4)), (2 / 9, 1 / 3, 4 / 9)),
    "3heun": ((0, 1 / 3, 2 / 3), ((), (1 / 3,), (0, 2 / 3)), (1 / 4, 0, 3 / 4)),
    "3vdh": ((0, 8 / 15, 2 / 3), ((), (8 / 15,), (1 / 4, 5 / 12)), (1 / 4, 0, 3 / 4)),
    "3ssprk": ((0, 1, 1 / 2), ((), (1,), (1 / 4, 1 / 4)), (1 / 6, 1 / 6, 2 / 3)),
    "4rk": ((0, 0.5, 0.5, 1), ((), (0.5,), (0, 0.5), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


def rho_rk(name):
    c, A, b = DEIS_RK[name]

    @in_kappa
    def step(d, u, s, t, *_):
        h, k = t - s, []
        for node, row in zip(c, A, strict=True):
            k.append(d(u + h * sum((w * e for w, e in zip(row, k, strict=True)), 0 * u), s + node * h))
        return u + h * sum(w * e for w, e in zip(b, k, strict=True))

    return step


def edm(model, x, times, process, alpha=None):
    """EDM's generalised sampler (its ablation): dx/dt from sigma(t), s(t), their rates and D; alpha None is Euler."""
    eps, times = Noise(model, process), times.tolist()

    def slope(x, t):
        s, ds = float(process.alpha(t)), float(process.alpha_rate(t))
        sigma = float(process.sigma(t)) / s
        dsigma = (float(process.sigma_rate(t)) - sigma * ds) / s
        D = x / s - sigma * eps(x, t)
        return (dsigma / sigma + ds / s) * x - dsigma * s / sigma * D

    for i, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
        h, d = s - t, slope(x, t)
        if alpha is None or (i == len(times) - 2 and float(process.sigma(s)) == 0):
            x = x + h * d
        else:
            d2 = slope(x + alpha * h * d, t + alpha * h)
            x = x + h * ((1 - 1 / (2 * alpha)) * d + 1 / (2 * alpha) * d2)
    return x


def adams_data(process, nodes, start, end):
    """alpha_t e^(-lambda_t) int e^lambda l_j(lambda) d lambda over the step, SA-Solver eq. 15 at tau = 0."""
    lams = [float(process.logsnr(t)) for t in nodes]
    a, b = (float(process.logsnr(t)) for t in (start, end))

    def integrand(j):
        others = [v for i, v in enumerate(lams) if i != j]
        return lambda v: math.exp(v - b) * math.prod((v - o) / (lams[j] - o) for o in others)

    return [
        float(process.alpha(end)) * quad(integrand(j), a, b, epsabs=1e-14, epsrel=1e-13)[0] for j in range(len(nodes))
    ]


def sa_solver(predictor=3, corrector=4, first=None):
    """SA-Solver at tau = 0, PEC, orders rising; ``first(data, x, times, i)`` takes the place of its predictor."""

    def sampler(model, x, times, process):
        eps, times, outputs = Noise(model, process), times.tolist(), []
        for i, t in enumerate(times):
            if i:
                predicted = predict(x, outputs, times, i, process, predictor)
                if i == len(times) - 1:
                    return predicted
            else:
                predicted = x
            outputs.insert(0, (predicted - float(process.sigma(t)) * eps(predicted, t)) / float(process.alpha(t)))
            if i and corrector:
                q = min(corrector, i + 1)
                w = adams_data(process, times[i - q + 1 : i + 1][::-1], times[i - 1], t)
                x = float(process.sigma(t) / process.sigma(times[i - 1])) * x
                x = x + sum(v * d for v, d in zip(w, outputs, strict=False))
            else:
                x = predicted

    predict = first or adams_predictor
    return sampler


def adams_predictor(x, outputs, times, i, process, order):
    p = min(order, i)
    w = adams_data(process, times[i - p : i][::-1], times[i - 1], times[i])
    moved = float(process.sigma(times[i]) / process.sigma(times[i - 1])) * x
    return moved + sum(v * d for v, d in zip(w, outputs, strict=False))


def dpmpp_2m_predictor(x, outputs, times, i, process, order):
    """DPM-Solver++(2M), Algorithm 2, given its history."""
    lam = [float(process.logsnr(t)) for t in times[: i + 1]]
    h, mixed = lam[i] - lam[i - 1], outputs[0]
    if i > 1:
        r = (lam[i - 1] - lam[i - 2]) / h
        mixed = (1 + 1 / (2 * r)) * outputs[0] - 1 / (2 * r) * outputs[1]
    return (
        float(process.sigma(times[i]) / process.sigma(times[i - 1])) * x
        - float(process.alpha(times[i])) * math.expm1(-h) * mixed
    )


def dpm_v3(known, order=3, points=4):
    """DPM-Solver-v3 in numpy: integrals by numpy's own Chebyshev series and 24 points of Gauss."""
    low, high = known.span
    series = [
        None if part is None else [np.polynomial.Chebyshev(part[:, d], domain=known.span) for d in range(part.shape[1])]
        for part in (known.l, known.s, known.b)
    ]
    nodes, masses = np.polynomial.legendre.leggauss(24)

    def values(part, v):
        return 0.0 if part is None else np.array([p(v) for p in part])

    def integral(part, a, b):
        return np.array([p(b) - p(a) for p in sums[id(part)]])

    l, s, b = series  # noqa: E741
    sums = {id(part): [p.integ() for p in part] for part in (l, s)}

    def B(start, end):
        r = start + (end - start) * (nodes + 1) / 2
        inner = [m * np.exp(-integral(s, start, v)) * values(b, v) for m, v in zip(masses, r, strict=True)]
        return (end - start) / 2 * sum(inner) if b is not None else 0.0

    def move(u, fs, lams, start, end):
        total = u.copy()
        g = [np.exp(-integral(s, start, v)) * f - B(start, v) for f, v in zip(fs, lams, strict=True)]
        for m, q in zip(masses, nodes, strict=True):
            v = start + (end - start) * (q + 1) / 2
            E = (end - start) / 2 * m * np.exp(integral(l, start, v) + integral(s, start, v))
            for j, own in enumerate(lams):
                total -= E * math.prod((v - o) / (own - o) for i, o in enumerate(lams) if i != j) * g[j]
            total -= E * B(start, v)
        return np.exp(-integral(l, start, end)) * total

    def sampler(model, x, times, process):
        eps, times, old = Noise(model, process), times.tolist(), []
        lam = [float(process.logsnr(t)) for t in times]
        u, base, last = x.numpy() / float(process.alpha(times[0])), None, 0
        for i, t in enumerate(times[:-1]):
            a = float(process.alpha(t))
            e = eps(torch.from_numpy(u * a), t).numpy()
            old.insert(0, float(process.sigma(t)) / a * e - values(l, lam[i]) * u)
            correct = last + points - order if points and i else 0
            if correct > 1:
                u = move(base, old[:correct], lam[i - correct + 1 : i + 1][::-1], lam[i - 1], lam[i])
            last, base = min(i + 1, order), u
            u = move(u, old[:last], lam[i - last + 1 : i + 1][::-1], lam[i], lam[i + 1])
        return torch.from_numpy(u * float(process.alpha(times[-1])))

    return sampler
