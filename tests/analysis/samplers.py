"""Samplers as users bring them: textbook ones, wrong ones and broken ones; noise models of VP, beta from 0.1 to 20."""

import torch


def beta(t):
    return 0.1 + 19.9 * t


def levels(t):
    log_alpha = -0.25 * 19.9 * t * t - 0.05 * t
    return torch.exp(log_alpha), torch.sqrt(-torch.expm1(2 * log_alpha))


def logsnr(t):
    alpha, sigma = levels(t)
    return torch.log(alpha / sigma)


def heun(model, x, times):
    """The trapezoidal predictor-corrector on dx/dt = -beta/2 (x - noise / sigma)."""

    def slope(x, t):
        return -0.5 * beta(t) * (x - model(x, t) / levels(t)[1])

    for t, s in zip(times[:-1], times[1:], strict=True):
        h, k = s - t, slope(x, t)
        x = x + h / 2 * (k + slope(x + h * k, s))
    return x


def dpmpp_2m(model, x, times, weight=None, step=None):
    """Lu et al. 2022 (arXiv 2211.01095), Algorithm 2; weight(h_last, h) and step(h_last, h) replace the published."""
    old = None
    for i, (t, s) in enumerate(zip(times[:-1], times[1:], strict=True)):
        (alpha, sigma), (alpha_s, sigma_s) = levels(t), levels(s)
        h = logsnr(s) - logsnr(t)
        data = (x - sigma * model(x, t)) / alpha
        mixed = data
        if old is not None:
            last = logsnr(t) - logsnr(times[i - 1])
            mixed = data + (weight(last, h) if weight else h / (2 * last)) * (data - old)
            h = step(last, h) if step else h
        x, old = sigma_s / sigma * x - alpha_s * torch.expm1(-h) * mixed, data
    return x


def equal_steps(model, x, times):
    """DPM-Solver++ 2M with the weights of equal steps on every grid."""
    return dpmpp_2m(model, x, times, weight=lambda last, h: 0.5)


def last_step(model, x, times):
    """k-diffusion issue 56: -h becomes -h_last in the final expm1."""
    return dpmpp_2m(model, x, times, step=lambda last, h: last)


def ddim(model, x, times, ask_again=False, bound=None, factor=1.0):
    for t, s in zip(times[:-1], times[1:], strict=True):
        (alpha, sigma), (alpha_s, sigma_s) = levels(t), levels(s)
        noise = factor * model(x, t)
        if ask_again:
            model(x, s)
        data = (x - sigma * noise) / alpha
        data = data if bound is None else data.clamp(-bound, bound)
        x = alpha_s * data + sigma_s * noise
    return x


def nearly_ddim(model, x, times):
    return ddim(model, x, times, factor=1.01)


def wasteful(model, x, times):
    return ddim(model, x, times, ask_again=True)


def clipped(model, x, times):
    return ddim(model, x, times, bound=1.0)


def growing(model, x, times):
    return ddim(model, x, times) + 1e-3 * len(times) ** 2


def not_a_number(model, x, times):
    return ddim(model, x, times) * float("nan")


def raises(model, x, times):
    raise RuntimeError("no\ngood")


def too_narrow(model, x, times):
    return x[:, :1]


def nothing(model, x, times):
    return None


def without_times(model, x):
    return x


number = 3


def not_a_table():
    """A factory of a tableau with a part that no tableau has."""
    return {"A": [[0]], "b": [1], "Q": 1}
