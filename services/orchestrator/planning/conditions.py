"""When a step is only needed if the picture is so: what to measure for it, and what the findings say."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from diptych.v1 import editor_pb2 as editor
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.slots import number
from services.orchestrator.planning.wanted import Wanted

Measure: TypeAlias = v1.Measure.ValueType

# Stops from middle grey beyond which a picture is bright, or dark, already.
_BRIGHT, _DARK = 1.3, -2.5
# Bounds for goals that say "if": a picture is noisy from the first, soft below the second, small below the third.
_NOISY, _SOFT, _SMALL = 3.0, 100.0, 1500.0
_TOO_DARK, _TOO_BRIGHT = -0.5, 0.7
_IF = re.compile(
    r"\b(?:if|when|where|in case|only as needed|as needed|where needed|unless|wenn|falls|nötig|si|cuando|s'il)\b"
    r"|\bshould (?:it|the|there)\b|\bsollte[n]?\b|\ben caso\b|如果|要是|假如|的话|需要时",
    re.IGNORECASE,
)
# What `analyze` must look for, for each measure.
KINDS: Mapping[Measure, editor.AnalysisKind.ValueType] = {
    v1.MEASURE_EXPOSURE: editor.ANALYSIS_KIND_LIGHTING,
    v1.MEASURE_CLIPPED_HIGHLIGHTS: editor.ANALYSIS_KIND_LIGHTING,
    v1.MEASURE_CLIPPED_SHADOWS: editor.ANALYSIS_KIND_LIGHTING,
    v1.MEASURE_NOISE: editor.ANALYSIS_KIND_QUALITY,
    v1.MEASURE_SHARPNESS: editor.ANALYSIS_KIND_QUALITY,
    v1.MEASURE_FACES: editor.ANALYSIS_KIND_FACES,
    v1.MEASURE_LONG_SIDE: editor.ANALYSIS_KIND_LIGHTING,
}
_NAMES: Mapping[Measure, str] = {
    v1.MEASURE_EXPOSURE: "its exposure, in stops from middle grey,",
    v1.MEASURE_CLIPPED_HIGHLIGHTS: "the share of pixels at white",
    v1.MEASURE_CLIPPED_SHADOWS: "the share of pixels at black",
    v1.MEASURE_NOISE: "its noise",
    v1.MEASURE_SHARPNESS: "its sharpness",
    v1.MEASURE_FACES: "the number of faces",
    v1.MEASURE_LONG_SIDE: "its longer side in pixels",
}


@dataclass(frozen=True)
class Bound:
    """A measure and the range in which a step is done. `words`: when it is, for the plan."""

    measure: Measure
    words: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def kind(self) -> editor.AnalysisKind.ValueType:
        """What to look for."""
        return KINDS[self.measure]

    def condition(self, step_id: str) -> v1.Condition:
        """The condition on the findings of that step."""
        return v1.Condition(step_id=step_id, measure=self.measure, at_least=self.at_least, at_most=self.at_most)


def bound_of(wanted: Wanted, goal: str) -> Bound | None:
    """What decides whether the operation is needed; None when it is done in any case."""
    said_if = _IF.search(wanted.clause or goal) is not None
    brightness = number(wanted.slots, "brightness") if wanted.name == "color_correct" else None
    if brightness and not (wanted.slots.get("object") or wanted.slots.get("spared")):
        if brightness > 0:
            most, words = (_TOO_DARK, "is too dark") if said_if else (_BRIGHT, "is not bright already")
            return Bound(v1.MEASURE_EXPOSURE, f"Done only if the picture {words}.", at_most=most)
        least, words = (_TOO_BRIGHT, "is too bright") if said_if else (_DARK, "is not dark already")
        return Bound(v1.MEASURE_EXPOSURE, f"Done only if the picture {words}.", at_least=least)
    if not said_if:
        return None
    return {
        "denoise": Bound(v1.MEASURE_NOISE, "Done only if the picture is noisy.", at_least=_NOISY),
        "deblur": Bound(v1.MEASURE_SHARPNESS, "Done only if the picture is soft.", at_most=_SOFT),
        "retouch": Bound(v1.MEASURE_FACES, "Done only if there is a face.", at_least=1),
        "upscale": Bound(v1.MEASURE_LONG_SIDE, "Done only if the picture is small.", at_most=_SMALL),
    }.get(wanted.name)


def unmet(conditions: Sequence[v1.Condition], findings: Mapping[str, editor.Analysis]) -> str:
    """Why a step is left out, by the findings of the steps that looked; empty when all conditions hold."""
    for condition in conditions:
        value = _value(condition.measure, findings[condition.step_id])
        low = condition.HasField("at_least") and value < condition.at_least
        high = condition.HasField("at_most") and value > condition.at_most
        if low or high:
            bound, side = (condition.at_least, "least") if low else (condition.at_most, "most")
            name = _NAMES[condition.measure]
            return f"Left out: {name} is {value:.3g}, and this step is for pictures where it is at {side} {bound:.3g}."
    return ""


def _value(measure: Measure, found: editor.Analysis) -> float:
    return {
        v1.MEASURE_EXPOSURE: found.lighting.exposure,
        v1.MEASURE_CLIPPED_HIGHLIGHTS: found.lighting.clipped_highlights,
        v1.MEASURE_CLIPPED_SHADOWS: found.lighting.clipped_shadows,
        v1.MEASURE_NOISE: found.quality.noise,
        v1.MEASURE_SHARPNESS: found.quality.sharpness,
        v1.MEASURE_FACES: float(len(found.faces)),
        v1.MEASURE_LONG_SIDE: float(max(found.width, found.height)),
    }[measure]
