"""What pipelines and callbacks do to an exported scheduler."""

import copy
import pickle

import pytest
import torch
from exported_pipelines import NET, SD, diffusers, distance, loop, start

from odekit.interop.diffusers import Scheduler
from odekit.interop.models import from_diffusers


class TestHabits:
    """What pipelines and callbacks do to a scheduler."""

    @pytest.mark.parametrize("method", ["ddim", "dpmpp-2m", "unipc-3", "rk4"])
    def test_copies_and_changes_in_place_after_use(self, method):
        scheduler = Scheduler(method, **SD)
        scheduler.set_timesteps(5)
        plain = loop(scheduler, start())

        def copied(k, x):
            fresh = x.clone()
            x.fill_(float("nan"))  # whoever gave it has no use for it any more
            return fresh

        scheduler.set_timesteps(5)
        assert torch.equal(loop(scheduler, start(), change=copied), plain)

    def test_a_network_that_reuses_its_output(self):
        """CUDA graphs hand out the same memory every time."""
        memory = torch.empty(2, 1, 8, 8)

        class Reusing(torch.nn.Module):
            def forward(self, x, t):
                return diffusers.models.unets.unet_2d.UNet2DOutput(memory.copy_(NET(x, t).sample))

        results = []
        for net in (NET, Reusing()):
            scheduler = Scheduler("deis-rhoab-3", **SD)
            scheduler.set_timesteps(6)
            results.append(loop(scheduler, start(), net))
        assert torch.equal(*results)

    @pytest.mark.parametrize("method", ["ddim", "dpmpp-2m", "deis-rhoab-2", "heun2"])
    def test_a_sample_changed_at_a_node_is_the_new_state(self, method):
        """Inpainting: part of the sample is put in by hand. What the model has said before stays as it is."""
        scheduler = Scheduler(method, grid="karras", final_sigmas_type="sigma_min", **SD)
        scheduler.set_timesteps(5)
        mask = torch.zeros(1, 1, 8, 8)
        mask[..., :4] = 1
        each = scheduler.order

        def change(k, x):
            return x * (1 - mask) + 0.25 * mask if (k + 1) % each == 0 else x

        result = loop(scheduler, start(), change=change)
        flow, x, dense = from_diffusers(NET, scheduler).flow, start(), scheduler.plan
        with torch.no_grad():  # the engine's registers by hand
            registers, k = [x], 0
            for segment in dense.segments:
                for i in range(segment.steps):
                    for e in range(segment.evaluations):
                        y = sum(float(c) * r for c, r in zip(segment.inputs[i, e], registers, strict=False))
                        registers.append(flow.model(y, segment.times[i, e]))
                        k += 1
                    registers = [
                        sum(float(c) * r for c, r in zip(row, registers, strict=True)) for row in segment.outputs[i]
                    ]
                    registers[0] = registers[0] * (1 - mask) + 0.25 * mask
        assert distance(result, registers[0]) < 1e-6

    def test_a_changed_stage_moves_the_state_so_that_it_is_the_stage_asked_for(self):
        scheduler = Scheduler("midpoint", final_sigmas_type="sigma_min", **SD)
        scheduler.set_timesteps(1)
        t0, t1 = scheduler.grid.tolist()
        model, x = from_diffusers(NET, scheduler), start()
        bump = 0.1 * torch.ones_like(x)
        result = loop(scheduler, x, change=lambda k, y: y + bump if k == 0 else y)
        inputs, outputs = (
            table[0].tolist() for table in (scheduler.plan.segments[0].inputs, scheduler.plan.segments[0].outputs)
        )
        with torch.no_grad():
            first = model(x, t0)
            second = model(inputs[1][0] * x + inputs[1][1] * first + bump, (t0 + t1) / 2)
        expected = outputs[0][0] * (x + bump / inputs[1][0]) + outputs[0][1] * first + outputs[0][2] * second
        assert distance(result, expected) < 1e-6

    @pytest.mark.parametrize("method", ["dpmpp-2m", "rk4"])
    def test_gradients_pass(self, method):
        scheduler = Scheduler(method, final_sigmas_type="sigma_min", **SD)
        scheduler.set_timesteps(3)
        model, slopes = from_diffusers(NET, scheduler), []
        for replayed in (True, False):
            x = y = start().requires_grad_()
            for t in scheduler.timesteps if replayed else ():
                y = scheduler.step(NET(y, t).sample, t, y).prev_sample
            y = y if replayed else scheduler.plan(model, x)
            slopes.append(torch.autograd.grad(y.square().sum(), x)[0])
        assert distance(*slopes) < 1e-5

    def test_both_forms_of_result_and_an_unused_generator(self):
        scheduler = Scheduler("ddim", **SD)
        scheduler.set_timesteps(2)
        x, t = start(), scheduler.timesteps
        scheduled = scheduler.step(0 * x, t[0], x, generator=torch.Generator())
        assert torch.equal(scheduled["prev_sample"], scheduled.prev_sample)
        assert isinstance(scheduler.step(0 * x, t[1], scheduled.prev_sample, return_dict=False), tuple)
        assert scheduler.init_noise_sigma == 1 and scheduler.scale_model_input(x, t[0]) is x and len(scheduler) == 1000

    def test_copies_and_pickles(self):
        scheduler = Scheduler("unipc-2", **SD)
        scheduler.set_timesteps(4)
        halfway = loop(scheduler, start(), timesteps=scheduler.timesteps[:2])
        again = [copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))]
        ends = [loop(s, halfway, timesteps=s.timesteps[2:]) for s in (scheduler, *again)]
        assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])

    def test_noise_and_velocity(self):
        scheduler, x, z = Scheduler(**SD), start(), start(seed=1)
        labels = torch.tensor([3, 700])
        bar = scheduler.alphas_cumprod[labels].reshape(2, 1, 1, 1)
        expected = bar.sqrt() * x + (1 - bar).sqrt() * z
        torch.testing.assert_close(scheduler.add_noise(x, z, labels), expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(
            scheduler.get_velocity(x, z, labels), bar.sqrt() * z - (1 - bar).sqrt() * x, rtol=1e-6, atol=1e-6
        )
        theirs = diffusers.DDIMScheduler(**SD)
        torch.testing.assert_close(theirs.add_noise(x, z, labels), expected, rtol=1e-6, atol=1e-6)
        straight = Scheduler(prediction_type="flow_prediction")
        torch.testing.assert_close(straight.scale_noise(x, 250.0, z), 0.75 * x + 0.25 * z)
