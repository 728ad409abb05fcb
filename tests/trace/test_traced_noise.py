"""Noise draws are registers: captured however they are made, kept in order, compared and expressed like the others."""

import pytest
import torch
from textbook import PROCESS, ddpm, euler_maruyama, random_grid

import odekit as ok
from odekit.fields.predictions import PREDICTIONS

SAMPLERS = [ddpm, euler_maruyama]
GRID = random_grid(2, 7)


def start():
    return torch.randn(3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def model(x, t):
    return torch.tanh(x.flip(-1)) + float(t)


def noises(count, x):
    torch.manual_seed(11)
    return [torch.randn_like(x) for _ in range(count)]


def seeded(sampler, x):
    torch.manual_seed(11)
    return sampler(model, x, GRID)


@pytest.mark.parametrize("sampler", SAMPLERS)
class TestTextbookSamplers:
    def test_fed_the_same_noises_the_plan_is_the_sampler(self, sampler):
        plan, x = ok.trace(sampler, grid=GRID, process=PROCESS), start()
        assert plan.draws == plan.evaluations == 7 and plan.registers == 1
        fed = noises(7, x)
        torch.testing.assert_close(plan(model, x, noise=fed.__getitem__), seeded(sampler, x), rtol=1e-13, atol=1e-13)
        assert not torch.allclose(plan(model, x, noise=lambda k: fed[6 - k]), seeded(sampler, x), rtol=1e-3)

    def test_the_dense_table_holds_draws_apart(self, sampler):
        table, x = ok.trace(sampler, grid=GRID, process=PROCESS).dense(), start()
        assert table.noise_inputs.shape == (7, 7) and table.noise_output.shape == (7,)
        assert table.noise_intervals is None
        fed, outputs = torch.stack(noises(7, x)), []
        for k in range(8):
            row, heard = (table.output, table.noise_output) if k == 7 else (table.inputs[k], table.noise_inputs[k])
            y = row[0] * x + sum(row[1 + j] * n for j, n in enumerate(outputs)) + torch.einsum("z,zbi->bi", heard, fed)
            if k < 7:
                outputs.append(model(y, table.times[k]))
        torch.testing.assert_close(y, seeded(sampler, x), rtol=1e-13, atol=1e-13)

    def test_compressing_and_tracing_again_changes_nothing(self, sampler):
        plan = ok.trace(sampler, grid=GRID, process=PROCESS)
        for other in (plan.compress(), ok.trace(plan)):
            found = ok.same(plan, other)
            assert found and found.gap < 1e-13 and other.draws == 7 and other.registers == 1

    def test_saved_and_loaded(self, sampler, tmp_path):
        plan = ok.trace(sampler, grid=GRID, process=PROCESS)
        plan.save(tmp_path / "plan.json")
        assert ok.same(plan, ok.Plan.load(tmp_path / "plan.json"))

    @pytest.mark.parametrize("into", sorted(PREDICTIONS))
    def test_in_another_prediction_it_is_still_the_sampler(self, sampler, into):
        plan, x = ok.trace(sampler, grid=GRID, process=PROCESS), start()
        other = plan.reexpress(into)
        flows = {
            p: ok.ProbabilityFlow(PROCESS, ok.targets.ring6(), prediction=p).model for p in (plan.prediction, into)
        }
        fed = noises(7, x)
        first, second = (p(flows[p.prediction], x, noise=fed.__getitem__) for p in (plan, other))
        torch.testing.assert_close(first, second, rtol=1e-11, atol=1e-11)
        assert ok.same(plan, other) and ok.same(other, plan)

    def test_a_plan_that_draws_asks_for_noise(self, sampler):
        with pytest.raises(ok.OdekitError, match="draws noise 7 times: give noise="):
            ok.trace(sampler, grid=GRID)(model, start())


def one_step(draw):
    def sampler(model, x):
        for t in (0.9, 0.4):
            x = draw(0.5 * x - 0.2 * model(x, t), 0.3)
        return x

    return sampler


WAYS = {
    "randn_like": lambda mean, s: mean + s * torch.randn_like(mean),
    "randn": lambda mean, s: mean + s * torch.randn(mean.shape, dtype=mean.dtype),
    "randn of sizes": lambda mean, s: mean + s * torch.randn(*mean.shape, dtype=mean.dtype),
    "generator": lambda mean, s: (
        mean + s * torch.randn(mean.shape, generator=torch.Generator().manual_seed(1), dtype=mean.dtype)
    ),
    "normal_": lambda mean, s: mean + s * torch.empty_like(mean).normal_(),
    "normal_ with numbers": lambda mean, s: torch.empty_like(mean).normal_(0.0, s) + mean,
    "normal of sizes": lambda mean, s: mean + torch.normal(0.0, s, tuple(mean.shape), dtype=mean.dtype),
    "normal around the state": lambda mean, s: torch.normal(mean, s),
    "normal of tensors": lambda mean, s: torch.normal(mean, torch.full_like(mean, s)),
    "distribution": lambda mean, s: torch.distributions.Normal(mean, s).sample(),
    "float32 noise": lambda mean, s: mean + s * torch.randn(mean.shape).to(mean.dtype),
}


@pytest.mark.parametrize("way", WAYS)
def test_however_a_normal_number_is_drawn_it_is_the_same_register(way):
    plan = ok.trace(one_step(WAYS[way]))
    table = plan.dense()
    torch.testing.assert_close(table.noise_output, torch.tensor([0.15, 0.3]).double(), rtol=1e-7, atol=0)
    assert float(table.output[0]) == pytest.approx(0.25) and float(table.output[1:] @ torch.ones(2).double()) != 0
    assert plan.precision == "float64" and ok.same(plan, ok.trace(one_step(WAYS["randn_like"])))
    assert not ok.same(plan, ok.trace(one_step(lambda mean, s: mean + 1.001 * s * torch.randn_like(mean))))


class TestSame:
    def test_the_noise_columns_decide_too(self):
        def scaled(factor):
            def sampler(model, x, times):
                for t, s in zip(times[:-1], times[1:], strict=True):
                    x = x + (s - t) * model(x, t) + factor * (t - s) ** 0.5 * torch.randn_like(x)
                return x

            return ok.trace(sampler, grid=GRID)

        assert ok.same(scaled(0.5), scaled(0.5))
        found = ok.same(scaled(0.5), scaled(0.50001))
        assert not found and "of z_0 against" in found.first_difference
        assert (
            "7 draws against 7 and 0"
            in ok.same(scaled(0.5), scaled(0.5).compress().replaced(**_without())).first_difference
        )

    def test_the_order_of_draws_matters(self):
        def sampler(first):
            def run(model, x):
                a, b = torch.randn_like(x), torch.randn_like(x)
                x = 0.5 * x + model(x, 0.5) + (a if first else b)
                return x + 0.1 * model(x, 0.1) + (b if first else a)

            return ok.trace(run)

        assert ok.same(sampler(True), sampler(True)) and not ok.same(sampler(True), sampler(False))

    def test_draws_that_nobody_hears_are_dropped(self):
        def sampler(deaf):
            def run(model, x):
                if deaf:
                    torch.randn_like(x)
                return x + model(x, 0.5) + torch.randn_like(x)

            return ok.trace(run)

        assert (sampler(True).draws, sampler(False).draws) == (2, 1)
        assert ok.same(sampler(True), sampler(False))


def _without():
    """The segments of the same sampler without its noise."""

    def silent(model, x, times):
        for t, s in zip(times[:-1], times[1:], strict=True):
            x = x + (s - t) * model(x, t)
        return x

    return {"segments": ok.trace(silent, grid=GRID).segments}


def test_draws_between_stages_are_kept_in_order():
    """SEEDS-like: two noises a step, one of them in the stage."""

    def sampler(model, x):
        for t in (0.8, 0.5, 0.2):
            first, second = torch.randn_like(x), torch.randn_like(x)
            y = 0.9 * x - 0.1 * model(x, t) + 0.2 * first
            x = 0.8 * x - 0.2 * model(y, t - 0.1) + 0.3 * first + 0.4 * second
        return x

    plan, x = ok.trace(sampler), start()
    torch.manual_seed(11)
    own = sampler(model, x)
    fed = noises(6, x)
    assert plan.draws == plan.evaluations == 6
    torch.testing.assert_close(plan(model, x, noise=fed.__getitem__), own, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(plan.compress()(model, x, noise=fed.__getitem__), own, rtol=1e-13, atol=1e-13)
