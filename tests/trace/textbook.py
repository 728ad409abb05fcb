"""Samplers as their papers print them, written from the papers and not from the package; grids to try them on."""

import math

import torch

import odekit as ok

PROCESS = ok.VP()


def random_grid(seed, steps=9, process=PROCESS, ends=(0.8, 0.02)):
    """Strictly decreasing process times with random gaps in the log-SNR."""
    generator = torch.Generator().manual_seed(seed)
    gaps = torch.rand(steps, generator=generator, dtype=torch.float64) + 0.3
    fractions = torch.cat([torch.zeros(1, dtype=torch.float64), gaps.cumsum(0) / gaps.sum()])
    first, last = (float(process.logsnr(t)) for t in ends)
    return process.time_at_logsnr(first + fractions * (last - first))


def alpha(t):
    return float(PROCESS.alpha(float(t)))


def sigma(t):
    return float(PROCESS.sigma(float(t)))


def half_logsnr(t):
    return math.log(alpha(t) / sigma(t))


def ddim(model, x, times):
    """Song, Meng & Ermon 2020, eq. 12 with sigma = 0."""
    for t, s in zip(times[:-1], times[1:], strict=True):
        noise = model(x, t)
        x = alpha(s) * (x - sigma(t) * noise) / alpha(t) + sigma(s) * noise
    return x


def euler(model, x, times):
    for t, s in zip(times[:-1], times[1:], strict=True):
        x = x + (s - t) * model(x, t)
    return x


def heun(model, x, times):
    """Hairer, Norsett & Wanner 1993, II.1, table 1.1."""
    for t, s in zip(times[:-1], times[1:], strict=True):
        first = model(x, t)
        second = model(x + (s - t) * first, s)
        x = x + (s - t) * (first + second) / 2
    return x


def heun_edm(model, x, times):
    """Karras et al. 2022, Algorithm 1, in x / alpha over sigma / alpha, without its last rule."""
    for t, s in zip(times[:-1], times[1:], strict=True):
        z, before, after = x / alpha(t), sigma(t) / alpha(t), sigma(s) / alpha(s)
        first = model(alpha(t) * z, t)
        second = model(alpha(s) * (z + (after - before) * first), s)
        x = alpha(s) * (z + (after - before) * (first + second) / 2)
    return x


def rk4(model, x, times):
    """Kutta 1901."""
    for t, s in zip(times[:-1], times[1:], strict=True):
        h = s - t
        k1 = model(x, t)
        k2 = model(x + h / 2 * k1, t + h / 2)
        k3 = model(x + h / 2 * k2, t + h / 2)
        k4 = model(x + h * k3, s)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def dpmpp_2m(model, x, times, swapped=False):
    """Lu et al. 2022 (arXiv 2211.01095), Algorithm 2; ``swapped`` exchanges h and h_last (k-diffusion, issue 56)."""
    old = None
    for i, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
        data = (x - sigma(t) * model(x, t)) / alpha(t)
        h = half_logsnr(s) - half_logsnr(t)
        if i == 0:
            d = data
        else:
            last = half_logsnr(t) - half_logsnr(times[i - 1])
            r = h / last if swapped else last / h
            d = (1 + 1 / (2 * r)) * data - 1 / (2 * r) * old
        x = sigma(s) / sigma(t) * x - alpha(s) * math.expm1(-h) * d
        old = data
    return x


def dpmpp_2m_swapped(model, x, times):
    return dpmpp_2m(model, x, times, swapped=True)


def ab2_in_data(model, x, times):
    """The constant-step Adams-Bashforth weights (3/2, -1/2) where 2M has those of the grid."""
    old = None
    for t, s in zip(times[:-1], times[1:], strict=True):
        data = (x - sigma(t) * model(x, t)) / alpha(t)
        d = data if old is None else 1.5 * data - 0.5 * old
        x = sigma(s) / sigma(t) * x - alpha(s) * math.expm1(half_logsnr(t) - half_logsnr(s)) * d
        old = data
    return x


def ab2(model, x, times):
    """Hairer, Norsett & Wanner 1993, III.5, eq. 5.3 (variable steps), started by one Euler step."""
    old = h_last = None
    for t, s in zip(times[:-1], times[1:], strict=True):
        h, slope = s - t, model(x, t)
        x = x + h * (slope if old is None else slope + h / h_last / 2 * (slope - old))
        old, h_last = slope, h
    return x


def ddpm(model, x, times):
    """Ho et al. 2020, Algorithm 2, on a grid of its own: variance beta (1 - abar_s) / (1 - abar_t)."""
    for t, s in zip(times[:-1], times[1:], strict=True):
        ratio = alpha(t) ** 2 / alpha(s) ** 2
        mean = (x - (1 - ratio) / sigma(t) * model(x, t)) / ratio**0.5
        x = mean + ((1 - ratio) * sigma(s) ** 2 / sigma(t) ** 2) ** 0.5 * torch.randn_like(x)
    return x


def euler_maruyama(model, x, times):
    """Maruyama 1955 for dx = F x - G^2 score backwards in time, score = -noise / sigma."""
    for t, s in zip(times[:-1], times[1:], strict=True):
        g2 = float(PROCESS.diffusion_squared(float(t)))
        drift = float(PROCESS.drift(float(t))) * x + g2 / sigma(t) * model(x, t)
        x = x + (s - t) * drift + (g2 * (t - s)) ** 0.5 * torch.randn(x.shape, dtype=x.dtype)
    return x
