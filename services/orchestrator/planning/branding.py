"""A profile's preferences brought into a plan: where the goal leaves something open, and at the end of each branch."""

from collections.abc import Sequence

from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning import slots as fill
from services.orchestrator.planning.drafting import Draft
from services.orchestrator.planning.profiles import Profile
from services.orchestrator.planning.wanted import Wanted

_SIZES = frozenset({"width", "height", "platform", "aspect", "formats"})
_SIZED = frozenset({"resize", "crop", "upscale", "extend"})


def branded(operations: Sequence[Wanted], profile: Profile) -> list[Wanted]:
    """The operations with the brand's ground and style where the goal names none."""
    return [_branded(operation, profile) for operation in operations]


def finished(draft: Draft, end: v1.StepInput, operations: Sequence[Wanted], profile: Profile) -> None:
    """Brings a branch's picture to the brand's sizes, one result for each, and lays the watermark over."""
    said = any(
        one.name in _SIZED or {"width", "height", "platform", "aspect", "formats"} & set(one.slots)
        for one in operations
    )
    because = f"The profile “{profile.name}” asks for it."
    sizes = () if said else profile.platforms
    for platform in sizes or ("",):
        current = end
        if platform:
            step = v1.PlanStep(edit=fill.edit("resize", {"platform": platform}))
            current = draft.add(Wanted("resize", {"platform": platform}, because=because), step, [current])
        if profile.watermark is not None:
            mark = v1.StepInput(stored_sha256=profile.watermark_sha256)
            laid = Wanted("composite", because=f"It is the watermark of the profile “{profile.name}”.")
            edit = profile.mark()
            edit.composite.MergeFrom(draft.known.mark)
            draft.add(laid, v1.PlanStep(edit=edit), [current, mark])


def _branded(operation: Wanted, profile: Profile) -> Wanted:
    because = f"The profile “{profile.name}” chose it, since the goal does not say."
    if operation.name == "replace_background" and not fill.words(operation.slots, "background") and profile.palette:
        return operation.with_slots(because, background=profile.palette[0])
    if operation.name == "style_transfer" and not fill.words(operation.slots, "style") and profile.styles:
        return operation.with_slots(because, style=profile.styles[0])
    return operation
