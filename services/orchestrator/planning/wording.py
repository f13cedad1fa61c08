# ruff: noqa: RUF001 - a multiplication sign is meant
"""Plain words for plans: what a step does, why a plan is as it is, how an option is called."""

from collections.abc import Iterable

from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.intent import IntendedOperation
from services.orchestrator.planning.plan import action_of, last_steps, makes_picture, operation_of, writes_only

_DOES = {
    "generate": "Draws a new picture",
    "vary": "Draws another version of the picture",
    "animate": "Sets it in motion",
    "select_region": "Finds the part that is meant",
    "remove_background": "Cuts the subject out",
    "replace_background": "Lays the subject on another background",
    "blur_background": "Blurs what is behind the subject",
    "enhance": "Improves light, contrast and noise together",
    "denoise": "Takes the noise away",
    "deblur": "Makes it sharper",
    "upscale": "Makes it larger, with detail",
    "color_correct": "Corrects tone and colour",
    "retouch": "Retouches faces",
    "remove_object": "Takes something away",
    "replace_object": "Puts one thing in the place of another",
    "add_object": "Adds something",
    "style_transfer": "Paints it in another style",
    "match_style": "Takes the look of another picture",
    "crop": "Keeps a part",
    "resize": "Brings it to its size",
    "extend": "Gives it more room",
    "rotate": "Turns or mirrors it",
    "composite": "Lays one picture over the other",
    "analyze": "Looks at the picture",
    "write_text": "Writes the words on it",
}
_OPTION = {
    "generate": "draw a new picture",
    "vary": "draw another version",
    "animate": "make it a short film",
    "remove_background": "cut the subject out",
    "replace_background": "replace the background",
    "blur_background": "blur the background",
    "enhance": "improve it overall",
    "denoise": "remove the noise",
    "deblur": "make it sharper",
    "upscale": "make it larger",
    "color_correct": "correct its colours",
    "retouch": "retouch the faces",
    "remove_object": "remove something from it",
    "replace_object": "replace something in it",
    "add_object": "add something to it",
    "style_transfer": "paint it in another style",
    "match_style": "give it the look of another picture",
    "composite": "lay another picture over it",
    "crop": "crop it",
    "resize": "change its size",
    "extend": "give it more room",
    "rotate": "turn it",
    "analyze": "describe it",
    "write_text": "write words on it",
}
# The same with details; the first whose details the goal names is taken.
_DETAILED = (
    ("generate", "draw “{prompt}”"),
    ("replace_background", "replace the background with “{background}”"),
    ("upscale", "make it {scale} times as large"),
    ("color_correct", "give “{object}” the colour “{color}”"),
    ("color_correct", "correct the colours of all but “{spared}”"),
    ("color_correct", "correct the colours of “{object}”"),
    ("remove_object", "remove “{object}” from it"),
    ("replace_object", "put “{replacement}” in the place of “{object}”"),
    ("write_text", "write “{text}” on it"),
    ("add_object", "add “{object}” to it"),
    ("style_transfer", "paint it as “{style}”"),
    ("crop", "crop it to {aspect}"),
    ("crop", "crop it to “{object}”"),
    ("resize", "bring it to {width} × {height} pixels"),
    ("resize", "bring it to the size for {platform}"),
    ("extend", "extend it to {aspect}"),
)
_LONGEST_DETAIL = 40
_WHY = {
    v1.ROUTE_GENERATE: "Something new is asked for, so the generator draws it.",
    v1.ROUTE_EDIT: "A picture that exists is to be changed, so the editor alone does it.",
    v1.ROUTE_CHAIN: "The generator makes what does not exist yet, the editor does the rest.",
}


def reason_for(step: v1.PlanStep, clause: str) -> str:
    """Why a step is in the plan, with the words of the goal that asked for it."""
    does = "Writes the file anew" if writes_only(step) else _DOES[operation_of(step)]
    if step.edit.crop.HasField("corner_radius"):
        does = "Cuts it round" if step.edit.crop.corner_radius == 0.5 else "Rounds the corners"
    return f"{does}, because the goal says “{clause.strip()}”." if clause.strip() else f"{does}."


def why(route: v1.Route.ValueType, num_wishes: int, order: str) -> str:
    """Why a plan has its route and its order; `order` says why it is not the goal's own, if it is not."""
    kept = "The order is the goal's own." if num_wishes > 1 else ""
    return " ".join(part for part in (_WHY[route], order or kept) if part)


def told_of_file(plan: v1.Plan) -> None:
    """Says in the reasons of the last steps how large their files may be, and how they are to be printed."""
    if plan.output.HasField("dpi"):
        for step in filter(makes_picture, last_steps(plan.steps)):
            step.reason += f" The file says {plan.output.dpi} dots per inch."
    if not plan.output.HasField("max_bytes"):
        return
    most = _in_bytes(plan.output.max_bytes)
    for step in last_steps(plan.steps):
        if makes_picture(step):
            step.reason += f" The file is written with the best quality that fits in {most}; its size in pixels stays."
            if plan.output.format == image_pb2.IMAGE_FORMAT_UNSPECIFIED:
                step.reason += " Where a PNG is too large it is a JPEG, or WebP with transparency."
        elif action_of(step) != "analyze":
            step.reason += f" Films are not kept within a number of bytes: the {most} are not held."


def _in_bytes(count: int) -> str:
    for each, unit in ((1000**2, "MB"), (1000, "KB")):
        if count >= each:
            return f"{count / each:.6g} {unit}"
    return f"{count} bytes"


def option_label(operations: Iterable[IntendedOperation]) -> str:
    """An answer in a few words, such as "Cut the subject out, then make it 2 times as large"."""
    label = ", then ".join(_in_words(one) for one in operations)
    return label[:1].upper() + label[1:]


def _in_words(operation: IntendedOperation) -> str:
    """What the operation does, with what the goal names for it; in general where that is missing."""
    said = {name: _short(value) for name, value in operation.slots.items() if str(value).strip()}
    for name, words in _DETAILED:
        if name == operation.name:
            try:
                return words.format_map(said)
            except KeyError:
                continue
    return _OPTION[operation.name]


def _short(value: str | float | int) -> str:
    words = f"{value:g}" if isinstance(value, float) else str(value).strip()
    return words if len(words) <= _LONGEST_DETAIL else f"{words[: _LONGEST_DETAIL - 1].rstrip()}…"
