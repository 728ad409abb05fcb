"""A small network in a real diffusers pipeline, beside the same run by `odekit.solve`."""

import pytest
import torch

import odekit as ok
from odekit.interop.models import from_diffusers

diffusers = pytest.importorskip("diffusers")
diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()

SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def unet(dtype=torch.float32):
    """Random weights, small, nonlinear, and sensitive to the time it is told."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        net = diffusers.UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 8),
            norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        )  # fmt: skip
    return net.to(dtype).eval()


NET = unet()


def pipeline(scheduler, net=NET, kind=diffusers.DDPMPipeline):
    pipe = kind(net, diffusers.DDIMScheduler())
    pipe.scheduler = scheduler  # DDIMPipeline makes any scheduler it is given a DDIMScheduler
    pipe.set_progress_bar_config(disable=True)
    return pipe


def start(dtype=torch.float32, seed=0):
    return torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def made(scheduler, net=NET, steps=6, kind=diffusers.DDPMPipeline):
    """What a real pipeline ends with, before it is made an image (which is checked to be that image)."""
    seen, step = [], scheduler.step

    def watched(*args, **kwargs):
        seen.append(step(*args, **kwargs))
        return seen[-1]

    scheduler.step = watched
    call = dict(batch_size=2, generator=torch.Generator().manual_seed(0), num_inference_steps=steps, output_type="pt")
    image = pipeline(scheduler, net, kind)(**call).images
    del scheduler.step
    image = torch.as_tensor(image) if kind is diffusers.DDPMPipeline else image
    assert torch.equal(image.float(), (seen[-1].prev_sample / 2 + 0.5).clamp(0, 1).float().reshape(image.shape))
    return seen[-1].prev_sample


def own(scheduler, x, net=NET, grid=None, ends_apart=False):
    """The same by `odekit.solve`; ``ends_apart`` takes the step to sigma = 0 as one of order one."""
    flow, grid = from_diffusers(net, scheduler).flow, scheduler.grid if grid is None else grid
    with torch.no_grad():
        if ends_apart:
            before = ok.solve(flow, x, scheduler.method, grid[:-1]) if len(grid) > 2 else x
            return ok.solve(flow, before, "dpmpp-1", grid[-2:])
        return ok.solve(flow, x, scheduler.method, grid)


def loop(scheduler, x, net=NET, timesteps=None, change=None):
    """The loop that every pipeline has; ``change(k, x)`` is what a callback does after call k."""
    with torch.no_grad():
        for k, t in enumerate(scheduler.timesteps if timesteps is None else timesteps):
            x = scheduler.step(net(x, t).sample, t, x, return_dict=False)[0]
            x = x if change is None else change(k, x)
    return x


def distance(a, b):
    return float((a - b).abs().max() / b.abs().max())


ASK_BELOW = ("abm-3", "heun2", "rk4", "dp5")
"""Those whose last step would ask the network between the last noise level and none."""
