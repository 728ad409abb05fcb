"""Plans whose coefficients are operators: run, read, compared, re-expressed and stored like the rest."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import odekit as ok
from odekit import engine
from odekit.exceptions import OdekitError, PredictionError, TraceError
from odekit.fields.operator_predictions import OperatorPrediction
from odekit.methods import conjugate, flow_splitting, phase_splitting
from odekit.operators import Block, Diagonal, Scalar, identity
from odekit.plan import Plan
from odekit.plan.carriers import composed, embedded, flat, folded, product, valued, widest
from odekit.plan.rows import Row
from odekit.processes import CLD, Blurring

METHODS = ["gddim-0", "gddim-2", "gddim-pece-1", "rk4", "ab-2"]
MODES = ok.GaussianMixture([[-1.0, 0.5], [1.2, -0.3]], [0.4, 0.5], [0.4, 0.6])


def problem(name, prediction="r-noise", steps=6):
    process = CLD() if name == "cld" else Blurring(shape=(2,), blur=2.0)
    flow = ok.ProbabilityFlow(process, MODES, prediction)
    grid = ok.grid("time-quadratic", process, steps, t_end=0.01)
    return flow, grid, flow.model.marginals.sample(5, process.t_max)


def by_table(plan, model, u):
    """A plan's result from its dense table alone."""
    table, carrier = plan.dense(), {0: Scalar, 1: Diagonal, 2: Block}[len(plan.form)]
    registers = [u]

    def taken(row):
        return sum(carrier(c).apply(r) for c, r in zip(row, registers, strict=False))

    for t, row in zip(table.times, table.inputs, strict=True):
        registers.append(model(taken(row), t))
    return taken(table.output)


def channel_times(plan, step, factor):
    """The plan with what the position's channel of the first evaluation of a step (or of all) weighs multiplied."""
    (segment,) = plan.segments
    inputs, outputs = segment.inputs.clone(), segment.outputs.clone()
    for table in (inputs, outputs):
        table[step, :, len(segment.slots), :, 0] *= factor
    return plan.replaced(segments=(replace(segment, inputs=inputs, outputs=outputs),))


@pytest.fixture(params=["cld", "blurring"])
def process(request):
    return request.param


class TestRunning:
    @pytest.mark.parametrize("method", METHODS)
    def test_a_plan_is_the_eager_solve(self, process, method):
        flow, grid, u = problem(process)
        planned, eager = ok.solve(flow, u, method, grid), ok.solve(flow, u, method, grid, eager=True)
        assert torch.allclose(planned, eager, rtol=1e-11, atol=1e-11)

    @pytest.mark.parametrize("method", METHODS)
    def test_a_plan_is_its_dense_table(self, process, method):
        flow, grid, u = problem(process, steps=4)
        plan = ok.plan(method, flow, grid)
        assert plan.dense().inputs.shape[2:] == plan.form == ((2, 2) if process == "cld" else (2,))
        assert torch.allclose(plan(flow.model, u), by_table(plan, flow.model, u), rtol=1e-8, atol=1e-8)

    def test_single_precision_states_of_any_shape_and_size(self):
        flow, grid, _ = problem("cld")
        plan = ok.plan("gddim-2", flow, grid)
        random = torch.Generator().manual_seed(0)
        for shape in ((3, 2), (3, 2, 1), (2, 2, 4, 5), (2**13, 2, 2), (3, 2, engine.channels.WIDE)):
            u = torch.randn(shape, generator=random, dtype=torch.float64)
            seen = []

            def model(x, t, seen=seen):
                seen.append(x.shape)
                return torch.tanh(x.view(len(x), -1) + float(t)).view(x.shape)

            double, single = plan(model, u), plan(model, u.float())
            assert single.dtype == torch.float32 and single.shape == u.shape and set(seen) == {u.shape}
            assert (double - single).abs().max() < 1e-4 * double.abs().max()
            # Every sample by itself: the large and the small product are the same.
            assert torch.allclose(double[:1], plan(model, u[:1]), rtol=1e-11, atol=1e-11)

    def test_the_watcher_sees_states(self):
        flow, grid, u = problem("cld")
        full = ok.solve(flow, u, "gddim-1", grid, full=True)
        assert full.trajectory.shape == (len(grid), *u.shape)
        assert torch.equal(full.trajectory[-1], full.x)

    def test_gradients_reach_the_grid(self, process):
        flow, grid, u = problem(process, steps=3)
        moved = grid.clone().requires_grad_()
        loss = ok.plan("gddim-1", flow, moved)(flow.model, u, differentiable=True).square().sum()
        (gradient,) = torch.autograd.grad(loss, moved)
        h = 1e-6
        for node in (1, 2):
            shift = torch.zeros_like(grid)
            shift[node] = h
            up, down = (ok.solve(flow, u, "gddim-1", grid + s).square().sum() for s in (shift, -shift))
            assert gradient[node].item() == pytest.approx(((up - down) / (2 * h)).item(), rel=2e-5)

    def test_raw_coordinates_of_the_velocity_have_numbers_for_coefficients(self, process):
        flow, grid, u = problem(process, "velocity")
        for method in ("rk4", "ab-2", "euler"):
            plan = ok.plan(method, flow, grid)
            assert plan.form == ()
            plain = ok.plan(method, ok.VectorField(lambda x, t: x), grid)
            assert ok.same(plan.replaced(process=None), plain)

    def test_a_classical_method_is_exact_to_its_order_in_any_prediction(self, process):
        noise, grid, u = problem(process)
        velocity = ok.ProbabilityFlow(noise.process, MODES, "velocity")
        assert torch.allclose(
            ok.solve(noise, u, "rk4", grid), ok.solve(velocity, u, "rk4", grid), rtol=1e-12, atol=1e-12
        )


PHASE_SPACE = [
    name
    for name in {**conjugate.METHODS, **flow_splitting.METHODS, **phase_splitting.METHODS}
    if ok.methods.get(name).is_plannable
]


class TestTraces:
    @pytest.mark.parametrize("method", [*METHODS, "gddim-pec-2"])
    def test_the_trace_of_a_plan_is_the_plan(self, process, method):
        flow, grid, u = problem(process)
        plan = ok.plan(method, flow, grid)
        for other in (plan.compress(), ok.trace(plan)):
            assert ok.same(plan, other) and other.form == plan.form
            assert torch.allclose(other(flow.model, u), plan(flow.model, u), rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("method", PHASE_SPACE)
    def test_methods_of_phase_space(self, method):
        flow, grid, u = problem("cld")
        plan = ok.plan(method, flow, grid)
        eager = ok.solve(flow, u, method, grid, eager=True)
        assert torch.allclose(plan(flow.model, u), eager, rtol=1e-9, atol=1e-9)
        assert ok.same(plan, ok.trace(plan))

    def test_registers_are_as_few_as_the_program_needs(self):
        flow, grid, _ = problem("cld", steps=12)
        for method, registers in (("gddim-0", 1), ("gddim-2", 3), ("gddim-pec-2", 4)):
            assert ok.plan(method, flow, grid).compress().registers == registers

    def test_the_eager_step_is_traced_as_what_it_is_and_as_nothing_else(self):
        flow, grid, _ = problem("cld")

        def sampler(model, x):
            return ok.solve(ok.ProbabilityFlow(flow.process, model, "r-noise"), x, "gddim-1", grid, eager=True)

        traced = ok.trace(sampler, shape=(2, 3), carrier="block", process=flow.process, prediction="r-noise")
        assert traced.form == (2, 2)
        assert ok.same(traced, ok.plan("gddim-1", flow, grid), tol=1e-12)
        assert not ok.same(traced, ok.plan("gddim-0", flow, grid))
        for carrier in ("scalar", "diagonal"):
            with pytest.raises(TraceError, match="elements of a sample"):
                ok.trace(sampler, shape=(2, 3), carrier=carrier)
        with pytest.raises(TraceError, match="elements of a sample"):  # every position has its own matrix
            turned = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
            ok.trace(lambda model, x: x + turned * model(x, 0.5).flip(1), shape=(2, 3), carrier="block")


class TestGauge:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("into", ["l-noise", "score"])
    def test_other_registers_same_program(self, process, method, into):
        flow, grid, u = problem(process)
        plan = ok.plan(method, flow, grid)
        other = plan.reexpress(into)
        model = ok.ProbabilityFlow(flow.process, MODES, into).model
        assert torch.allclose(plan(flow.model, u), other(model, u), rtol=1e-9, atol=1e-9)
        assert ok.same(plan, other) and ok.same(other, plan)
        assert ok.same(other.reexpress("r-noise"), plan)

    def test_numbers_and_operators_compare(self, process):
        flow, grid, _ = problem(process)
        velocity = ok.ProbabilityFlow(flow.process, MODES, "velocity")
        for a, b in ((flow, velocity), (velocity, flow)):
            assert ok.same(ok.plan("rk4", a, grid), ok.plan("rk4", b, grid))
            assert not ok.same(ok.plan("rk4", a, grid), ok.plan("rk38", b, grid))

    def test_what_differs_is_named(self):
        flow, grid, _ = problem("cld")
        found = ok.same(ok.plan("gddim-2", flow, grid), ok.plan("gddim-2", flow, grid, factor="L"))
        assert not found and "evaluation 1 takes" in str(found) and "N_0 (entry" in str(found)

    def test_one_wrong_entry_of_one_block_is_seen(self, process):
        flow, grid, _ = problem(process)
        plan = ok.plan("gddim-1", flow, grid)
        outputs = plan.segments[-1].outputs.clone()
        outputs[(-1, 0, 1, *(-1 for _ in plan.form))] *= 1 + 1e-9
        wrong = plan.replaced(segments=(*plan.segments[:-1], engine.Segment(
            plan.segments[-1].times, plan.segments[-1].inputs, outputs, plan.segments[-1].slots
        )))  # fmt: skip
        assert not ok.same(plan, wrong)

    def test_a_channel_that_is_never_used_is_rounding_in_other_registers(self):
        """Reduced Verlet asks the second time for the score of the momentum alone."""
        flow = ok.ProbabilityFlow(ok.PSLD(), MODES, "score")
        plan = ok.plan("rvv", flow, ok.grid("time-uniform", flow.process, 5))
        other = plan.reexpress("r-noise")
        back = other.reexpress("score")
        unused = abs(back.dense().output[2, :, 0]).max()
        assert 0 < unused < 1e-15 and plan.dense().output[2, :, 0].abs().max() == 0
        assert ok.same(plan, other) and ok.same(other, plan) and ok.same(plan, back)
        assert back.compress().registers == plan.compress().registers == 1
        for step in range(5):
            assert not ok.same(channel_times(plan, step, 1 + 1e-9), other)

    @pytest.mark.parametrize("size", [1e-3, 1e-9])
    def test_a_channel_that_weighs_little_is_compared_all_the_same(self, size):
        flow = ok.ProbabilityFlow(ok.PSLD(), MODES, "score")
        plan = channel_times(ok.plan("rvv", flow, ok.grid("time-uniform", flow.process, 5)), slice(None), size)
        for step in range(5):
            found = ok.same(plan, channel_times(plan, step, 1.001))
            assert not found and f"evaluation {2 * step + 1} takes" in str(found) and "(entry 0, 0)" in str(found)

    def test_two_processes(self):
        flow, grid, _ = problem("cld")
        other = ok.ProbabilityFlow(CLD(momentum_variance=0.5), MODES, "r-noise")
        assert not ok.same(ok.plan("gddim-1", flow, grid), ok.plan("gddim-1", other, grid))

    def test_the_velocity_of_phase_space_determines_no_score(self):
        flow, grid, _ = problem("cld", "velocity")
        with pytest.raises(PredictionError, match="does not determine"):
            ok.plan("gddim-1", flow, grid)
        flow, grid, u = problem("blurring", "velocity")
        noise = ok.ProbabilityFlow(flow.process, MODES, "r-noise")
        assert torch.allclose(ok.solve(flow, u, "gddim-1", grid), ok.solve(noise, u, "gddim-1", grid), rtol=1e-9)

    def test_scaled_states(self):
        flow, grid, u = problem("cld")
        plan = ok.plan("gddim-1", flow, grid)
        scaled = plan.reexpress(state_scale=(2.0, 0.5))
        assert torch.allclose(scaled(flow.model, 2 * u), plan(flow.model, u) / 2, rtol=1e-12, atol=1e-12)


class TestPredictionsOfOnesOwn:
    def test_a_shift_by_the_linear_part_is_the_velocity(self):
        """C_skip x + C_out N with C_out a multiple of the identity: the flow does not depend on it."""
        shifted = OperatorPrediction(
            "shifted", out=lambda process, t: Scalar(-2.0), skip=lambda process, t: -process.covariance(t).inverse()
        )
        flow, grid, u = problem("cld")
        own = ok.ProbabilityFlow(flow.process, MODES, shifted)
        assert own.prediction is shifted
        assert torch.allclose(own(u, 0.5), flow(u, 0.5), rtol=1e-12, atol=1e-12)
        assert torch.allclose(
            ok.solve(own, u, "gddim-2", grid), ok.solve(flow, u, "gddim-2", grid), rtol=1e-9, atol=1e-9
        )
        model_alone = ok.ProbabilityFlow(flow.process, own.model, shifted)
        assert torch.allclose(model_alone(u, 0.5), own(u, 0.5), rtol=1e-12, atol=1e-12)
        bound = own.model.prepare([0.9, 0.5])
        assert torch.allclose(bound(1, u), own.model(u, 0.5), rtol=1e-13, atol=1e-13)

    def test_unknown_here(self):
        with pytest.raises(PredictionError, match="its predictions: velocity, score, r-noise, l-noise"):
            ok.ProbabilityFlow(CLD(), MODES, "data")


class TestFiles:
    def test_there_and_back(self, process, tmp_path):
        flow, grid, u = problem(process)
        plan = ok.plan("gddim-2", flow, grid)
        plan.save(tmp_path / "plan.json")
        back = Plan.load(tmp_path / "plan.json")
        assert torch.equal(back(flow.model, u), plan(flow.model, u))

    def test_refused(self, tmp_path):
        flow, grid, _ = problem("cld")
        plan = ok.plan("gddim-1", flow, grid)
        with pytest.raises(OdekitError, match="of your own"):
            plan.replaced(prediction=OperatorPrediction("mine", out=lambda p, t: identity)).save(tmp_path / "p.json")
        plan.save(tmp_path / "plan.json")
        text = (tmp_path / "plan.json").read_text().replace('"slots": ["x", "N.0"]', '"slots": ["x"]')
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(OdekitError, match="do not fit|axes"):
            Plan.load(tmp_path / "broken.json")


class TestAlgebra:
    def test_operators_stand_to_the_left(self):
        a, b = Block([[1.0, 2.0], [0.0, 1.0]]), Block([[1.0, 0.0], [3.0, 1.0]])
        row = (Row({0: identity}) * b + 2 * Row({1: identity})) * a
        assert torch.equal(row.terms[0].value, (a @ b).value) and not torch.equal(row.terms[0].value, (b @ a).value)
        assert torch.equal(row.terms[1].value, 2 * a.value)

    @pytest.mark.parametrize(
        "form", [(), (3,), (2, 2), (3, 3)], ids=["numbers", "components", "blocks", "larger blocks"]
    )
    def test_tables(self, form):
        random, own = torch.Generator().manual_seed(1), len(form)
        a, b = (torch.randn(*shape, *form, generator=random, dtype=torch.float64) for shape in ((4, 5), (5, 6)))
        assert torch.equal(folded(flat(a, own), form), a)
        expected = sum(composed(a[:, None, k], b[None, k], own) for k in range(5))
        assert torch.allclose(product(a, b, own), expected, rtol=1e-13, atol=1e-13)
        exact = product(a.numpy().astype(object), b.numpy().astype(object), own)
        assert np.allclose(exact.astype(float), expected.numpy())

    def test_numbers_embed(self):
        table = torch.arange(6.0).double().reshape(1, 2, 3)
        assert torch.equal(embedded(table, (2, 2))[0, 1, 2], 5 * torch.eye(2).double())
        assert torch.equal(embedded(table, (3,))[0, 1, 2], torch.full((3,), 5.0).double())
        block = Block([[1.0, 2.0], [3.0, 4.0]])
        assert widest([1.0, Scalar(2.0), block]) is block and widest([1.0, Scalar(2.0)]) is identity
        assert torch.equal(valued(Scalar(2.0), block), 2 * torch.eye(2).double())
