"""Noise: what the draws of a stochastic method are answered with."""

from __future__ import annotations

from collections.abc import Callable

import torch

from odekit.exceptions import OdekitError


def normal(seed: int, like: torch.Tensor) -> Callable[[int], torch.Tensor]:
    """Standard normal draws of a seed, a function of the draw's number, in the shape, dtype and device of `like`.

    The same number always gets the same draw; in order each costs one kernel, and nothing waits for the device. A seed
    means other numbers on another device or in another dtype.

    >>> noise = normal(0, torch.zeros(2, 1))
    >>> first, second = noise(0), noise(1)
    >>> bool((noise(0) == first).all()), bool((noise(1) == second).all()), bool((first == second).any())
    (True, True, False)
    """
    if not isinstance(seed, int):
        raise OdekitError(f"seed = {seed!r:.40}: expected a whole number")
    generator, made = torch.Generator(like.device), 0
    generator.manual_seed(seed)

    def draw(k: int) -> torch.Tensor:
        nonlocal made
        if k < made:  # again from the beginning
            generator.manual_seed(seed)
            made = 0
        while made < k:
            draw(made)
        made += 1
        return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)

    return draw
