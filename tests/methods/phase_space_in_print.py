"""Phase-space samplers as loops over floats, without odekit: the mixture's score, the splitting maps, conjugate maps.

Written from the equations of PSLD (Pandey & Mandt 2023, arXiv 2303.01748, equation 7) and from the descriptions of the
samplers of Pandey, Rudolph & Mandt 2023 (arXiv 2310.07894); one coordinate, states (x, m) of floats or arrays.
"""

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm

WEIGHTS, MEANS, DEVIATIONS = (0.4, 0.6), (-1.0, 1.2), (0.4, 0.5)


class Psld:
    """One set of constants: the drift, the score of the mixture, the velocity of the probability flow."""

    def __init__(self, Gamma=0.01, nu=4.01, kappa=0.04, beta=8.0):
        self.Gamma, self.nu, self.beta, self.M = Gamma, nu, beta, 4 / (nu - Gamma) ** 2
        self.kappa = kappa
        self.F = beta / 2 * np.array([[-Gamma, 1 / self.M], [-1.0, -nu]])
        self.GG = beta * np.diag([Gamma, self.M * nu])
        self.Q = np.diag([1.0, self.M])

    def spread(self, t, variance):
        """The covariance at t where x_0 has a variance about its mean."""
        E = expm(t * self.F)
        return self.Q + E @ (np.diag([variance, self.kappa * self.M]) - self.Q) @ E.T

    def score(self, z, t):
        """The score at states z (2, ...)."""
        pulls, logs = [], []
        for w, mu, sd in zip(WEIGHTS, MEANS, DEVIATIONS, strict=True):
            S = self.spread(t, sd**2)
            gap = z - (expm(t * self.F) @ [mu, 0.0]).reshape(2, *[1] * (z.ndim - 1))
            pulls.append(-np.tensordot(np.linalg.inv(S), gap, 1))
            logs.append(np.log(w) + (gap * pulls[-1]).sum(0) / 2 - np.log(np.linalg.det(S)) / 2)
        shares = np.exp(np.array(logs) - np.max(logs, 0))
        return sum(share * pull for share, pull in zip(shares, pulls, strict=True)) / shares.sum(0)

    def noise(self, z, t):
        """eps = -L^T score."""
        L = np.linalg.cholesky(self.spread(t, 0.0))
        return -np.tensordot(L.T, self.score(z, t), 1)

    def reverse(self, z, s):
        """(g_x, g_m) with the score given: dx and dm per unit of time running back."""
        x, m = z
        gx = self.beta / 2 * (self.Gamma * x - m / self.M + self.Gamma * s[0])
        gm = self.beta / 2 * (x + self.nu * m + self.M * self.nu * s[1])
        return gx, gm

    def exact(self, z, start, end):
        """The flow from states z (2, n), to 1e-12."""
        n = z.shape[1]

        def velocity(t, y):
            u = y.reshape(2, n)
            return -np.stack(self.reverse(u, self.score(u, t))).ravel()

        return (
            solve_ivp(velocity, (start, end), z.ravel(), method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1].reshape(2, n)
        )


class ScoreModel:
    """The same score for tensors (B, 2, 1), with tables for a list of times: long runs in little time."""

    def __init__(self, constants):
        self.p = constants

    def __call__(self, x, t):
        return self.prepare([float(t)])(0, x)

    def prepare(self, times):
        p = self.p
        b, a = p.beta * np.array(times), (p.Gamma + p.nu) / 4
        E = np.exp(-a * b)[:, None, None] * (np.eye(2) + b[:, None, None] * (p.F / p.beta + a * np.eye(2)))
        tables = []
        for w, mu, sd in zip(WEIGHTS, MEANS, DEVIATIONS, strict=True):
            S = p.Q + E @ (np.diag([sd**2, p.kappa * p.M]) - p.Q) @ E.swapaxes(1, 2)
            P, size = np.linalg.inv(S), np.log(w) - np.log(np.linalg.det(S)) / 2
            tables.append([E[:, 0, 0] * mu, E[:, 1, 0] * mu, P[:, 0, 0], P[:, 0, 1], P[:, 1, 1], size])
        rows = list(np.array(tables).transpose(2, 1, 0)[:, :, :, None])

        def call(k, u):
            z = u.numpy()
            x0, m0, xx, xm, mm, size = rows[k]
            x, m = z[:, 0, 0] - x0, z[:, 1, 0] - m0
            gx, gm = xx * x + xm * m, xm * x + mm * m
            logs = size - (x * gx + m * gm) / 2
            shares = np.exp(logs - logs.max(0))
            shares /= -shares.sum(0)
            return torch.from_numpy(np.stack([(shares * gx).sum(0), (shares * gm).sum(0)], 1)[:, :, None])

        return call


def nse(p, z, t, h):
    (x, m), S = z, p.score
    m = m + h * p.reverse((x, m), S(z, t))[1]
    x = x + h * p.reverse((x, m), S(np.array([x, m]), t))[0]
    return np.array([x, m])


def nse_x_first(p, z, t, h):
    (x, m), S = z, p.score
    x = x + h * p.reverse((x, m), S(z, t))[0]
    m = m + h * p.reverse((x, m), S(np.array([x, m]), t))[1]
    return np.array([x, m])


def rse(p, z, t, h):
    (x, m), s = z, p.score(z, t)
    m = m + h * p.reverse((x, m), s)[1]
    return np.array([x + h * p.reverse((x, m), s)[0], m])


def nvv(p, z, t, h, last=0):
    (x, m), S = z, p.score
    half = m + h / 2 * p.reverse((x, m), S(z, t))[1]
    x = x + h * p.reverse((x, half), S(np.array([x, half]), t))[0]
    return np.array([x, half + h / 2 * p.reverse((x, half), S(np.array([x, half]), t - last * h))[1]])


def rvv(p, z, t, h, last=1):
    (x, m), s = z, p.score(z, t)
    half = m + h / 2 * p.reverse((x, m), s)[1]
    x = x + h * p.reverse((x, half), s)[0]
    return np.array([x, half + h / 2 * p.reverse((x, half), p.score(np.array([x, half]), t - last * h))[1]])


def verlet_by_midpoint(p, z, t, h):
    """B A B, each by the explicit midpoint rule on [t, t - h/2], [t, t - h], [t - h/2, t - h]."""

    def move(z, row, t, h):
        def velocity(z, t):
            g = np.zeros_like(z)
            g[row] = p.reverse(z, p.score(z, t))[row]
            return g

        return z + h * velocity(z + h / 2 * velocity(z, t), t - h / 2)

    return move(move(move(z, 1, t, h / 2), 0, t, h), 1, t - h / 2, h / 2)


# ------------------------------------------------------------ conjugate maps


def forced(p, K, start, end, origin, points=60):
    """1/2 int_start^end exp((u - origin) K) G G^T L_u^-T du as a matrix with a minus: what eps is multiplied by."""
    nodes, masses = np.polynomial.legendre.leggauss(points)
    a, b = np.sqrt(start), np.sqrt(end)
    total = np.zeros((2, 2))
    for x, w in zip(nodes, masses, strict=True):
        v = (a + b) / 2 + (b - a) / 2 * x
        L = np.linalg.cholesky(p.spread(v * v, 0.0))
        total += w * (b - a) / 2 * 2 * v * expm((v * v - origin) * K) @ p.GG @ -np.linalg.inv(L).T / 2
    return total


def lambda_ddim(p, z, t, h, B):
    K = B - p.F
    return expm(h * K) @ (z - h * B @ z) + forced(p, K, t - h, t, t - h) @ p.noise(z, t)


def cse_joint(p, z, t, h, B):
    K, eps = B - p.F, p.noise(z, t)
    (x, m), push = z, forced(p, K, t - h, t, t) @ eps
    m = m - h * (B[1, 0] * x + B[1, 1] * m) + push[1]
    x = x - h * (B[0, 0] * x + B[0, 1] * m) + push[0]
    return expm(h * K) @ np.array([x, m])


def cvv_joint(p, z, t, h, B):
    K, eps = B - p.F, p.noise(z, t)
    x, m = z
    m = m - h / 2 * (B[1, 0] * x + B[1, 1] * m) + (forced(p, K, t - h / 2, t, t) @ eps)[1]
    x = x - h * (B[0, 0] * x + B[0, 1] * m) + (forced(p, K, t - h, t, t) @ eps)[0]
    again = p.noise(expm(h * K) @ np.array([x, m]), t - h)
    C = expm(-h * K) @ B @ expm(h * K)
    m = m - h / 2 * (C[1, 0] * x + C[1, 1] * m) + (forced(p, K, t - h, t - h / 2, t) @ again)[1]
    return expm(h * K) @ np.array([x, m])


def _alone(p, z, row, t, h, eps, rate):
    """One variable by the scalar conjugation of its own part, with quadrature for all that is frozen."""
    k = rate - np.diag(p.F)
    coupling = p.F[row, 1 - row] * z[1 - row]
    nodes, masses = np.polynomial.legendre.leggauss(30)
    u = (nodes + 1) / 2 * h
    frozen = (masses / 2 * h * np.exp(k[row] * u)).sum() * coupling
    moved = z.copy()
    moved[row] = (1 - h * rate) * np.exp(k[row] * h) * z[row] - frozen
    moved[row] += (forced(p, np.diag(k), t - h, t, t - h) @ eps)[row]
    return moved


def cse_separate(p, z, t, h, rate):
    eps = p.noise(z, t)
    return _alone(p, _alone(p, z, 1, t, h, eps, rate), 0, t, h, eps, rate)


def cvv_separate(p, z, t, h, rate):
    eps = p.noise(z, t)
    z = _alone(p, _alone(p, z, 1, t, h / 2, eps, rate), 0, t, h, eps, rate)
    return _alone(p, z, 1, t - h / 2, h / 2, p.noise(z, t - h), rate)
