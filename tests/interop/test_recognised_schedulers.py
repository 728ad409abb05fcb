"""Which method of ours each scheduler of diffusers is, and what tracing brings to light in them."""

import pytest
from traced_schedulers import SINGLE, flow, recognised, scheduler

import odekit as ok
from odekit.interop.diffusers import grid_of
from odekit.plan.dense import live


class TestRecognition:
    """Which method of ours a scheduler is: at float32 tolerance, and at that tolerance no other."""

    @pytest.mark.parametrize("steps", [2, 10, 20, 50, 250])
    @pytest.mark.parametrize("ends_at_one", [True, False])
    def test_ddim(self, steps, ends_at_one):
        made = scheduler("DDIM", steps, clip_sample=False, set_alpha_to_one=ends_at_one)
        assert recognised(made, "ddim")
        for other in ("euler", "deis-rhoab-1", "dpmpp-2m") if steps > 2 else ("euler",):
            assert not recognised(made, other)

    @pytest.mark.parametrize("prediction", ["sample", "v_prediction"])
    def test_ddim_in_any_prediction(self, prediction):
        assert recognised(scheduler("DDIM", 10, clip_sample=False, prediction_type=prediction), "ddim")

    @pytest.mark.parametrize("steps", [2, 10, 50])
    def test_euler_discrete_is_ddim_in_another_state_scale(self, steps):
        """Karras et al. 2022, C.5: Euler in sigma is DDIM; the scheduler carries x / alpha."""
        made = scheduler("EulerDiscrete", steps, timestep_spacing="trailing")
        assert ok.trace(made).state_scale[0] > 100
        assert recognised(made, "ddim")
        assert not recognised(made, "euler")

    @pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
    @pytest.mark.parametrize("steps", [5, 14, 15, 50])
    def test_dpm_solver_multistep_is_2m(self, steps, spacing):
        made = scheduler("DPMSolverMultistep", steps, timestep_spacing=spacing)
        assert recognised(made, "dpmpp-2m")
        for other, options in (("ddim", {}), ("exponential-ab-2", {"prediction": "data"}), ("exponential-ab-2", {})):
            found = recognised(made, other, **options)
            assert not found and found.first_difference.startswith("evaluation 2 takes")

    @pytest.mark.parametrize("steps", [5, 20, 250])
    def test_the_last_step_is_seen_however_small_it_is(self, steps):
        """final_sigmas_type="sigma_min" ends before sigma = 0; lower_order_final then applies below 15 steps."""
        lowered = scheduler("DPMSolverMultistep", steps, final_sigmas_type="sigma_min", euler_at_final=True)
        full = scheduler("DPMSolverMultistep", steps, final_sigmas_type="sigma_min", lower_order_final=False)
        assert recognised(lowered, "dpmpp-2m", last="lower") and recognised(full, "dpmpp-2m")
        for made, last in ((lowered, "full"), (full, "lower")):
            found = recognised(made, "dpmpp-2m", last=last)
            assert not found and found.first_difference.startswith("the output takes")

    def test_few_steps_lower_the_order_at_the_end(self):
        made = scheduler("DPMSolverMultistep", 10, final_sigmas_type="sigma_min")
        assert recognised(made, "dpmpp-2m", last="lower") and not recognised(made, "dpmpp-2m")

    @pytest.mark.parametrize("steps", [5, 50])
    def test_the_heun_type_is_another_method_which_we_also_know(self, steps):
        made = scheduler("DPMSolverMultistep", steps, solver_type="heun")
        assert not recognised(made, "dpmpp-2m")
        assert recognised(made, "exponential-ab-2", prediction="data")

    def test_dpm_solver_of_order_one_is_ddim(self):
        assert recognised(scheduler("DPMSolverMultistep", 10, solver_order=1), "ddim")

    def test_heun_discrete_is_edm_heun(self):
        made = scheduler("HeunDiscrete", 8, timestep_spacing="leading")
        assert recognised(made, "heun-edm") and not recognised(made, "ddim")

    def test_flow_match_euler_is_euler(self):
        made = scheduler("FlowMatchEulerDiscrete", 10, shift=3.0)
        traced = ok.trace(made)
        assert traced.process == ok.RectifiedFlow() and traced.prediction == "velocity"
        assert recognised(made, "euler") and recognised(made, "ab-1") and not recognised(made, "ab-2")

    def test_another_step_in_the_table_is_another_program(self):
        made = scheduler("DDIM", 20, clip_sample=False)
        grid = grid_of(made)
        grid[12] *= 1 + 1e-4
        assert not recognised(made, "ddim", grid)

    def test_single_precision_counts_as_such_only(self):
        """At float64 tolerance the float32 tables are not ours: the tolerance does decide."""
        made = scheduler("DDIM", 20, clip_sample=False)
        traced = ok.trace(made)
        exact = ok.plan("ddim", flow(traced), grid_of(made))
        found = ok.same(traced, exact)
        assert found and 1e-9 < found.gap < 2 * 20 * SINGLE
        assert not ok.same(traced, exact, tol=1e-12)


class TestFindings:
    """What tracing brings to light in the installed package; the pins say which version was looked at."""

    def test_ddim_steps_by_a_stride_and_not_along_its_grid(self):
        """1000 // N is no step of a trailing grid unless N divides 1000 (huggingface/diffusers #12633)."""
        good, bad = (scheduler("DDIM", n, clip_sample=False, timestep_spacing="trailing") for n in (10, 14))
        assert recognised(good, "ddim")
        assert recognised(bad, "ddim").first_difference.startswith("evaluation 2 takes")

    @pytest.mark.parametrize("option", ["use_karras_sigmas", "use_lu_lambdas", "use_exponential_sigmas"])
    def test_the_network_is_told_rounded_times_on_other_grids(self, option):
        found = recognised(scheduler("DPMSolverMultistep", 20, **{option: True}), "dpmpp-2m")
        assert " is at time 0." in found.first_difference

    def test_the_network_of_euler_is_told_a_slightly_other_time_between_table_entries(self):
        """sigma is interpolated linearly, ln alpha of the process too: 1e-5 apart where labels are fractions."""
        found = recognised(scheduler("EulerDiscrete", 50), "ddim")
        assert " is at time 0." in found.first_difference and found.gap < 1e-4

    @pytest.mark.parametrize("name", ["DDIM", "PNDM"])
    def test_a_last_step_of_no_length_wastes_an_evaluation(self, name):
        """Leading timesteps end at label 0, and without set_alpha_to_one the last step goes to alpha of label 0."""
        config = {"clip_sample": False} if name == "DDIM" else {"skip_prk_steps": True}
        for offset, wasted in ((0, 1), (1, 0)):
            made = scheduler(
                name, 10, timestep_spacing="leading", set_alpha_to_one=False, steps_offset=offset, **config
            )
            assert int((~live(ok.trace(made).dense())).sum()) == wasted
            assert len(grid_of(made)) == 11 - wasted

    @pytest.mark.parametrize("steps", [2, 3])
    def test_heun_loses_digits_in_differences_and_is_traced_all_the_same(self, steps):
        """(x - (x - sigma N)) / sigma with sigma = 0.03 and x of the size 25: 10 eps and more from its own table."""
        made = scheduler("HeunDiscrete", steps)
        assert recognised(made, "heun-edm")

    @pytest.mark.parametrize("steps", [1, 2, 3])
    def test_pndm_cannot_do_few_steps_by_itself(self, steps):
        with pytest.raises(ValueError, match="could not be broadcast"):
            scheduler("PNDM", steps)

    def test_registers_are_the_memory_of_the_method(self):
        """PLMS keeps x and three outputs; in its Runge-Kutta start also a sum of stages beside two outputs and x."""
        registers = {
            "DDIM": ok.trace(scheduler("DDIM", 20, clip_sample=False)).registers,
            "2M": ok.trace(scheduler("DPMSolverMultistep", 20)).registers,
            "UniPC-2": ok.trace(scheduler("UniPCMultistep", 20)).registers,
            "PLMS": ok.trace(scheduler("PNDM", 20, skip_prk_steps=True)).registers,
            "PNDM": ok.trace(scheduler("PNDM", 20)).registers,
        }
        assert registers == {"DDIM": 1, "2M": 2, "UniPC-2": 3, "PLMS": 4, "PNDM": 5}
        *_, last = [s for s in ok.trace(scheduler("PNDM", 40)).segments if s.steps > 10]
        assert len(last.slots) == 4
