"""The noise schedules that are served, by name, and which of them suit a model.

Variance-preserving models (Stable Diffusion 1.x, 2.x, XL) take every schedule that diffusers lists for them, except
two: EDM's Euler fits only networks trained with EDM's preconditioning, and the DPM++ SDE solver draws its noise from a
Brownian tree of another library. Flow-matching models (Stable Diffusion 3, FLUX) take those of flow matching.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from diptych.errors import FailedPrecondition

_SOLVER = {"algorithm_type": "dpmsolver++"}
_STOCHASTIC_SOLVER = {"algorithm_type": "sde-dpmsolver++"}
# LCM and TCD take their steps from the few that the network was distilled on.
_DISTILLED_STEPS = 50


# Schedulers as they are before a walk: some take half a second to build, a copy takes less than a thousandth of that.
_built: dict[tuple[str, str, str], Any] = {}


@dataclass(frozen=True)
class ScheduleKind:
    """A diffusers scheduler class, where it lives, and what is set on top of the model's own configuration."""

    module: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    flow: bool = False
    distilled: bool = False

    def build(self, config: Mapping[str, Any], *, as_it_is: bool = False) -> Any:
        """A fresh diffusers scheduler; `as_it_is` by the configuration alone, as a model's own schedule is."""
        wanted = dict(config) if as_it_is else {**config, **self.options}
        key = (self.module, self.kind, repr(sorted(wanted.items())))
        if key not in _built:
            scheduler = getattr(import_module(f"diffusers.schedulers.scheduling_{self.module}"), self.kind)
            _built[key] = scheduler.from_config(wanted)
        return deepcopy(_built[key])

    def most_steps(self, config: Mapping[str, Any]) -> int | None:
        """The most steps it can take, None without such a limit."""
        return int(config.get("original_inference_steps") or _DISTILLED_STEPS) if self.distilled else None


_PLAIN = {
    "ddim": ScheduleKind("ddim", "DDIMScheduler"),
    "ddpm": ScheduleKind("ddpm", "DDPMScheduler"),
    "pndm": ScheduleKind("pndm", "PNDMScheduler", {"skip_prk_steps": True}),
    "euler_ancestral": ScheduleKind("euler_ancestral_discrete", "EulerAncestralDiscreteScheduler"),
    "lcm": ScheduleKind("lcm", "LCMScheduler", distilled=True),
    "tcd": ScheduleKind("tcd", "TCDScheduler", distilled=True),
}
_WITH_KARRAS = {
    "lms": ScheduleKind("lms_discrete", "LMSDiscreteScheduler"),
    "euler": ScheduleKind("euler_discrete", "EulerDiscreteScheduler"),
    "heun": ScheduleKind("heun_discrete", "HeunDiscreteScheduler"),
    "dpm2": ScheduleKind("k_dpm_2_discrete", "KDPM2DiscreteScheduler"),
    "dpm2_ancestral": ScheduleKind("k_dpm_2_ancestral_discrete", "KDPM2AncestralDiscreteScheduler"),
    "dpmpp_2m": ScheduleKind("dpmsolver_multistep", "DPMSolverMultistepScheduler", _SOLVER),
    "dpmpp_2m_sde": ScheduleKind("dpmsolver_multistep", "DPMSolverMultistepScheduler", _STOCHASTIC_SOLVER),
    "dpmpp_2s": ScheduleKind(
        "dpmsolver_singlestep", "DPMSolverSinglestepScheduler", {**_SOLVER, "lower_order_final": True}
    ),
    "deis": ScheduleKind("deis_multistep", "DEISMultistepScheduler", {"algorithm_type": "deis"}),
    "unipc": ScheduleKind("unipc_multistep", "UniPCMultistepScheduler"),
}
_FLOW = {
    "flow_match_euler": ScheduleKind("flow_match_euler_discrete", "FlowMatchEulerDiscreteScheduler", flow=True),
    "flow_match_heun": ScheduleKind("flow_match_heun_discrete", "FlowMatchHeunDiscreteScheduler", flow=True),
}


def _with_sigmas(kind: ScheduleKind, karras: bool) -> ScheduleKind:
    # diffusers takes one of the three at most; the model's own schedule may have set another.
    sigmas = {"use_karras_sigmas": karras, "use_exponential_sigmas": False, "use_beta_sigmas": False}
    return ScheduleKind(kind.module, kind.kind, {**kind.options, **sigmas})


SCHEDULES: Mapping[str, ScheduleKind] = {
    **_PLAIN,
    **{name: _with_sigmas(kind, False) for name, kind in _WITH_KARRAS.items()},
    **{f"{name}_karras": _with_sigmas(kind, True) for name, kind in _WITH_KARRAS.items()},
    **_FLOW,
}


def schedule_name(config: Mapping[str, Any]) -> str:
    """The name of the schedule in a `scheduler_config.json`; FailedPrecondition when it is not served."""
    wanted = str(config.get("_class_name", ""))
    of_class = [name for name, kind in SCHEDULES.items() if kind.kind == wanted]
    if not of_class:
        raise FailedPrecondition(
            f"the model's noise schedule {wanted or 'without a name'} is not served; "
            f"served: {', '.join(sorted(SCHEDULES))}",
            reason="UNSUPPORTED_SCHEDULE",
        )
    if config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction":
        raise FailedPrecondition(
            f"the model's noise schedule is {wanted} made to match flows, which is not served; "
            f"served for such models: {', '.join(sorted(_FLOW))}",
            reason="UNSUPPORTED_SCHEDULE",
        )
    return max(of_class, key=lambda name: _likeness(SCHEDULES[name].options, config))


def _likeness(options: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    return sum(config.get(key, False) == value for key, value in options.items())


def suiting(default: str) -> tuple[str, ...]:
    """The names that a model whose own schedule is `default` can be drawn with, sorted."""
    flow = SCHEDULES[default].flow
    return tuple(sorted(name for name, kind in SCHEDULES.items() if kind.flow == flow))
