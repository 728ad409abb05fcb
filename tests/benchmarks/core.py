"""What the core costs, as ratios within one run: `python tests/benchmarks/core.py` (or `make bench`).

Nothing here is asserted: machines differ, ratios of one run do not much. Minima of several runs, one thread.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Callable

import torch

import odekit as ok
from odekit import engine


def best(function: Callable[[], object], repeats: int = 7) -> float:
    """The shortest of several runs in seconds, after one that warms up."""
    function()
    runs = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        runs.append(time.perf_counter() - start)
    return min(runs)


def mixture(components: int, dimension: int) -> ok.GaussianMixture:
    generator = torch.Generator().manual_seed(0)
    means = 2 * torch.randn(components, dimension, generator=generator, dtype=torch.float64)
    scales = torch.full((components,), 0.3, dtype=torch.float64)
    return ok.GaussianMixture(means, scales, torch.full((components,), 1 / components, dtype=torch.float64))


def building() -> None:
    """Plans of a thousand steps, after the first call (which derives and compiles the process)."""
    process = ok.VP()
    flow = ok.ProbabilityFlow(process, ok.targets.ring6(), prediction="noise")
    grid = ok.grid("logsnr", process, 1000)
    print("\nbuilding a plan of 1000 steps        ms")
    for name in ("euler", "rk4", "dop853", "ab-3", "deis-tab-2", "exponential-ab-3", "dpmpp-2m"):
        print(f"  {name:<30} {1e3 * best(lambda n=name: ok.plan(n, flow, grid)):8.1f}")


def running() -> None:
    """A planned 50-step RK4 solve against its own 200 score calls alone."""
    process, steps = ok.VP(), 50
    print("\n50-step RK4, float64                 us/step   solve/scores   engine/scores")
    for components, dimension, batch in ((16, 2, 1), (16, 2, 1024), (16, 2, 65536), (1000, 64, 256)):
        flow = ok.ProbabilityFlow(process, mixture(components, dimension), prediction="noise")
        plan = ok.plan("rk4", flow, ok.grid("logsnr", process, steps))
        x = torch.randn(batch, dimension, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        call = flow.model.prepare(plan.times.tolist())
        repeats = 7 if batch * components * dimension < 1e5 else 2

        def scores(call=call, plan=plan, x=x):
            for k in range(plan.evaluations):
                call(k, x)

        bare = best(scores, repeats)
        solve = best(lambda plan=plan, flow=flow, x=x: plan(flow.model, x), repeats)
        alone = best(lambda plan=plan, call=call, x=x: engine.run(plan.segments, call, [x]), repeats)
        label = f"K{components} d{dimension} B{batch}"
        print(f"  {label:<30} {1e6 * solve / steps:10.0f} {solve / bare:12.2f} {alone / bare:15.2f}")


def tracing() -> None:
    """Tracing a 50-step scheduler, beyond the scheduler's own run of one batch."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, PNDMScheduler, UniPCMultistepScheduler

    from odekit.interop.diffusers import adapt

    print("\ntracing 50 steps of diffusers         ms   own run   beyond it")
    schedulers = (DDIMScheduler(clip_sample=False), DPMSolverMultistepScheduler(), PNDMScheduler())
    for scheduler in (*schedulers, UniPCMultistepScheduler(final_sigmas_type="sigma_min")):
        scheduler.set_timesteps(50)
        sampler = adapt(scheduler).sampler
        x = torch.randn(128, 1, 1, 1)
        own = best(lambda sampler=sampler, x=x: sampler(lambda y, t: y, x), 3)
        whole = best(lambda scheduler=scheduler: ok.trace(scheduler), 3)
        print(f"  {type(scheduler).__name__:<30} {1e3 * whole:8.0f} {1e3 * own:9.0f} {1e3 * (whole - own):11.0f}")
    flow = ok.ProbabilityFlow(ok.VP(), ok.targets.ring6(), prediction="noise")
    print("\ntracing our own plans                 ms")
    for name, steps in (("rk4", 50), ("dpmpp-2m", 50), ("dpmpp-2m", 400)):
        plan = ok.plan(name, flow, ok.grid("logsnr", flow.process, steps))
        print(f"  {f'{name}, {steps} steps':<30} {1e3 * best(lambda plan=plan: ok.trace(plan), 3):8.0f}")


def importing() -> None:
    """Import of odekit beyond torch's own."""

    def seconds(statement: str) -> float:
        run = f"import time; s = time.perf_counter(); {statement}; print(time.perf_counter() - s)"
        return min(float(subprocess.check_output([sys.executable, "-c", run])) for _ in range(3))

    print(f"\nimport odekit beyond torch: {seconds('import odekit') - seconds('import torch'):.2f} s")


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread")
    for part in (building, running, tracing, importing):
        part()
