"""What the words of a goal say beyond what was read of it: amounts, sides, corners, a film's places, a file's format.

Pure. Applied once, when a goal is read, so that "a bit more" later scales what was really done.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

from diptych import labels
from services.orchestrator.intent import ClarifyReason, IntendedOperation, Intent, Reading, amounts, formats
from services.orchestrator.intent.intent import route_of
from services.orchestrator.planning import overlays, shares, sides
from services.orchestrator.planning.colors import gradient_of
from services.orchestrator.planning.formats_said import formats_said, last_aspect, speaks_of_formats, without_formats
from services.orchestrator.planning.wanted import Value

Operations = tuple[IntendedOperation, ...]

_SURE = 0.95
_WRITTEN = ("png", "jpeg", "webp", "avif")
_BLACK_AND_WHITE = re.compile(
    r"\bblack[- ](?:and|&)[- ]white\b|\bb\s?[&/]\s?w\b|\bmonochrom\w*|\bgr[ae]y-?scale\b|schwarz-?weiß|noir et blanc|"
    r"blanco y negro|黑白",
    re.IGNORECASE,
)
_SPARED = re.compile(
    r"\b(?:except(?: for)?|but not|other than|apart from|aside from|besides|all but|everything but|excluding|außer|"
    r"sauf|excepto|salvo)\s+(?:the |my |her |his |its |their |der |die |das |dem |den |le |la |les |el |los |las )?"
    r"(?P<thing>[\w' -]{2,40}?)(?=\s+(?:and|then|und|et|y)\b|[,.;!]|$)",
    re.IGNORECASE,
)
_POSSESSIVE = re.compile(r"(?<=\w)['\u2019]s?$")
_OF_AN_ANIMAL = re.compile(r"(?:the )?(\w+)['\u2019]s (?:face|head|eyes?)$", re.IGNORECASE)
_COLLAGE = re.compile(
    r"\b(?:collages?|grid|mosaic|montage|contact sheet|side[- ]by[- ]side|next to each other|nebeneinander|côte à côte|"
    r"lado a lado)\b|拼图|拼贴|并排",
    re.IGNORECASE,
)
_SHADOW = re.compile(r"^(?:[\w-]+ ){0,3}shadows?$", re.IGNORECASE)
_VIGNETTE = re.compile(r"^(?:[\w-]+ ){0,3}vignett\w*$", re.IGNORECASE)
_KEEPS_COLORS = re.compile(
    r"\b(?:keep|preserv|retain|maintain)\w*\s+(?:(?:all|of|the|its|their|own|original)\s+)*colou?rs?\b", re.IGNORECASE
)
_SHADOW_STRENGTH = 0.6
_PRONOUN = re.compile(r"(?:it|this|that|them|these|es|das|ça|eso|esto)", re.IGNORECASE)
_VIGNETTE_SLOTS: Mapping[str, Value] = MappingProxyType({"brightness": -0.35, "spared": labels.SUBJECT, "feather": 200})
_MIRROR = re.compile(r"\b(?:flip|mirror|reflect|spieg\w*|voltea\w*|refleja\w*)", re.IGNORECASE)
_UPRIGHT = re.compile(r"\bvertical|upside|top to bottom", re.IGNORECASE)
_COUNTER = re.compile(
    r"counter-?\s?clockwise|anti-?\s?clockwise|\bccw\b|\bleft\b|links|gauche|izquierda", re.IGNORECASE
)
_SHAPES, _DRAWS = ("resize", "crop", "extend"), ("generate", "vary")
_JOINT = re.compile(r",|;|\b(?:and|then|und|dann|et|puis|y|luego)\b", re.IGNORECASE)
_FILM = r"(?:animations?|animated|films?|videos?|clips?|loops?|movies?|gifs?|morph\w*|transition\w*)"
_ABOUT_FILM = re.compile(
    rf"^\W*(?:(?:make|create|draw|generate|give me|i want|a|an|the|short|looping|seamless|smooth|{_FILM}|that|which|"
    r"where|\d+[- ]?s(?:ec\w*)?|of|with|showing|in which|goes|going)\s+)+",
    re.IGNORECASE,
)
_PLACE = r"[^,.;]{2,80}"
_PLACES = re.compile(
    rf"\bfrom\s+(?P<first>{_PLACE}?)\s+(?:in)?to\s+(?P<last>{_PLACE})|"
    rf"^(?P<first_>{_PLACE}?)\s+(?:(?:slowly|smoothly)\s+)?(?:morph|turn|transform|chang|dissolv|fad|blend)\w*\s+"
    rf"(?:in)?to\s+(?P<last_>{_PLACE})",
    re.IGNORECASE,
)
_AS_GROUND = re.compile(
    r"\bas (?:the |a |its )?(?:background|backdrop)\b|\bals hintergrund\b|\bcomme fond\b", re.IGNORECASE
)


def detailed(goal: str, intent: Intent, num_images: int) -> Intent:
    """The intent with what its words say beyond it."""
    if intent.reason is ClarifyReason.VAGUE and num_images and (name := formats.named(goal)) in _WRITTEN:
        rewritten = (IntendedOperation("analyze", MappingProxyType({"format": name}), goal),)
        return Intent("EDIT", rewritten, rewritten[0].slots, _SURE, (), None)
    if intent.reason is ClarifyReason.VAGUE and num_images and (sizes := formats_said(goal, 1)):
        sized = (IntendedOperation("resize", MappingProxyType({"formats": sizes}), goal),)
        return Intent("EDIT", sized, sized[0].slots, _SURE, (), None)
    operations = _operations(goal, intent.operations, num_images)
    alternatives = tuple(_alternative(goal, one, num_images) for one in intent.alternatives)
    if operations == intent.operations:
        return replace(intent, alternatives=alternatives)
    slots: dict[str, Value] = {}
    for operation in operations:
        slots = {**operation.slots, **slots}
    route = route_of(tuple(one.name for one in operations))
    return replace(intent, route=route, operations=operations, slots=MappingProxyType(slots), alternatives=alternatives)


def _alternative(goal: str, reading: Reading, num_images: int) -> Reading:
    operations = _operations(goal, reading.operations, num_images)
    return replace(reading, route=route_of(tuple(one.name for one in operations)), operations=operations)


def _operations(goal: str, read: Sequence[IntendedOperation], num_images: int) -> Operations:
    read = [one for one in read if not (num_images and one.name == "generate" and _is_pronoun(one))]
    found = _as_walk(goal, read) if not num_images else read
    found = _in_several_sizes(goal, found, num_images)
    found = _with_shadow(_laid_on_a_ground(found, num_images), num_images)
    detailed = [part for one in found for part in _RULES.get(one.name, _as_it_is)(one, one.clause or goal, num_images)]
    detailed = _without_echoes(_written_not_drawn(detailed))
    detailed = _with_round_corners(_on_paper(detailed))
    quality = shares.of_quality(goal)
    if detailed and quality is not None:
        detailed[-1] = _with(detailed[-1], quality=quality)
    if _KEEPS_COLORS.search(goal):
        detailed = [_with(one, keep_colors=1) if one.name == "style_transfer" else one for one in detailed]
    return tuple(detailed)


def _in_several_sizes(goal: str, read: Sequence[IntendedOperation], num_images: int) -> list[IntendedOperation]:
    """One result for each of the sizes that are named, instead of what else their names were taken for."""
    sizes = formats_said(goal)
    if not sizes or not (num_images or any(one.name == "generate" for one in read)):
        return list(read)
    kept: list[IntendedOperation] = []
    for one in read:
        said = " ".join(str(one.slots.get(name, "")) for name in ("prompt", "object"))
        taken = one.name in ("remove_object", "add_object", "composite") or (num_images and one.name in _DRAWS)
        if one.name in _SHAPES or (taken and speaks_of_formats(said)):
            continue
        one = _without(one, "platform", "width", "height", "aspect", "count")
        prompt = without_formats(str(one.slots.get("prompt", "")))
        kept.append(_with(one, prompt=prompt) if prompt else one)
    return [*kept, IntendedOperation("resize", MappingProxyType({"formats": sizes}), goal)]


def _is_pronoun(operation: IntendedOperation) -> bool:
    """Whether what is to be drawn is "it": a picture that there is."""
    return _PRONOUN.fullmatch(str(operation.slots.get("prompt", ""))) is not None


def _with(operation: IntendedOperation, name: str = "", /, **slots: Value) -> IntendedOperation:
    merged = MappingProxyType({**operation.slots, **slots})
    return replace(operation, name=name or operation.name, slots=merged)


def _without(operation: IntendedOperation, *names: str) -> IntendedOperation:
    kept = {name: value for name, value in operation.slots.items() if name not in names}
    return replace(operation, slots=MappingProxyType(kept))


def _as_it_is(operation: IntendedOperation, text: str, num_images: int) -> list[IntendedOperation]:
    return [operation]


def _sized(operation: IntendedOperation, text: str, num_images: int) -> list[IntendedOperation]:
    """A size told by its change: smaller is a resize, larger an upscale."""
    factor = shares.of_size(text)
    if factor is None:
        return [operation]
    bare = _without(operation, "percent", "scale", "width", "height")
    if factor > 1:
        return [_with(bare, "upscale", scale=round(factor, 4))]
    return [_with(bare, "resize", percent=round(100 * factor, 4))]


def _coloured(operation: IntendedOperation, text: str, num_images: int) -> list[IntendedOperation]:
    thing = _POSSESSIVE.sub("", str(operation.slots.get("object", "")))
    operation = _with(operation, object=thing) if thing else operation
    spared = _SPARED.search(text)
    if _BLACK_AND_WHITE.search(text) and (spared or "color" in operation.slots):
        # In "black and white" neither is a colour to give.
        operation = _with(_without(operation, "color"), tone="grayscale")
        if spared and "spared" not in operation.slots:
            thing = _BLACK_AND_WHITE.sub("", spared["thing"])
            operation = _with(_without(operation, "object"), spared=thing.strip())
    return [_with(operation, **shares.of_tones(text))]


def _turned(operation: IntendedOperation, text: str, num_images: int) -> list[IntendedOperation]:
    """Mirrored and turned are two steps, in the order that is said."""
    mirror = _MIRROR.search(text)
    parts = [(part, amounts.angle(part)) for part in _JOINT.split(text) if not _MIRROR.search(part)]
    turn = next(((part, angle) for part, angle in parts if angle is not None), None)
    if mirror is None or turn is None or turn[1] is None:
        return [operation]
    counter = _COUNTER.search(turn[0])
    turned = _without(operation, "direction", "angle")
    turned = _with(turned, angle=-turn[1] if counter else turn[1])
    side = "vertical" if _UPRIGHT.search(text) else "horizontal"
    mirrored = _with(_without(operation, "angle"), direction=side)
    return [mirrored, turned] if mirror.start() < text.find(turn[0]) else [turned, mirrored]


def _cropped(operation: IntendedOperation, text: str, num_images: int) -> list[IntendedOperation]:
    trim = sides.trim_said(text)
    if wanted := last_aspect(text):
        return [_with(operation, aspect=wanted)]
    if not trim:
        # Only faces of people are found as faces.
        owner = _OF_AN_ANIMAL.match(str(operation.slots.get("object", "")))
        animal = owner is not None and set(labels.meaning(owner[1])) <= set(labels.ANIMALS)
        return [_with(operation, object=owner[1])] if owner is not None and animal else [operation]
    return [_with(_without(operation, "object", "aspect", "width", "height"), trim=trim)]


def _extended(operation: IntendedOperation, text: str, num_images: int) -> list[IntendedOperation]:
    return [_with(operation, **sides.room_said(text))]


def _added(operation: IntendedOperation, text: str, num_images: int) -> list[IntendedOperation]:
    """A border is room around; somebody's own logo is a picture that came along, laid where it is said."""
    thing = str(operation.slots.get("object", ""))
    if (room := sides.border_said(thing, text)) is not None and num_images:
        return [replace(operation, name="extend", slots=MappingProxyType(dict(room)))]
    if words := str(operation.slots.get("text", "")) or overlays.unquoted(text):
        operation = _with(operation, text=words)
        return [_with(_without(operation, "object", "position"), "write_text", **overlays.lettered(text, words))]
    if num_images and _VIGNETTE.match(thing):
        return [replace(operation, name="color_correct", slots=_VIGNETTE_SLOTS)]
    if operation.name == "composite" and num_images > 1 and _COLLAGE.search(text):
        return [replace(operation, slots=MappingProxyType({"collage": 1}))]
    placed = overlays.laid(text)
    if overlays.is_own_mark(text):
        # By its own words it would be drawn: what is asked for is the picture itself.
        roles = {"source_picture": -1} if num_images > 1 and "source_picture" not in operation.slots else {}
        return [_with(_without(operation, "object"), "composite", own=thing or "logo", **roles, **placed)]
    if "anchor" in placed:
        return [_with(operation, "composite", **placed)]
    return [operation]


def _on_a_ground(operation: IntendedOperation, text: str, num_images: int) -> list[IntendedOperation]:
    return [_with(operation, background=text)] if gradient_of(text) is not None else [operation]


_RULES: Mapping[str, Callable[[IntendedOperation, str, int], list[IntendedOperation]]] = {
    "resize": _sized,
    "upscale": _sized,
    "color_correct": _coloured,
    "rotate": _turned,
    "crop": _cropped,
    "extend": _extended,
    "add_object": _added,
    "composite": _added,
    "replace_background": _on_a_ground,
}


def _as_walk(goal: str, read: Sequence[IntendedOperation]) -> list[IntendedOperation]:
    """A film from one thing to another is a walk between the two, not a picture with a moving camera."""
    if [one.name for one in read] not in (["generate", "animate"], ["animate"]):
        return list(read)
    film = read[-1]
    bare = _ABOUT_FILM.sub("", film.clause or goal)
    places = _PLACES.search(bare)
    if places is None:
        return list(read)
    first, last = (places[name] or places[f"{name}_"] for name in ("first", "last"))
    return [_with(film, places=f"{first.strip()} | {last.strip()}")]


def _laid_on_a_ground(read: Sequence[IntendedOperation], num_images: int) -> list[IntendedOperation]:
    """ "The first as background, the second in the lower left" is one picture laid over another."""
    kept = list(read)
    for at, (ground, laid) in enumerate(pairwise(read)):
        behind = ground.slots.get("source_picture")
        both = ground.name == "replace_background" and laid.name in ("composite", "add_object")
        if both and num_images > 1 and behind is not None and _AS_GROUND.search(ground.clause):
            over = ground.slots.get("target_picture", 2 if behind == 1 else 1)
            roles = {"target_picture": behind, "source_picture": over}
            kept[at : at + 2] = [_with(_without(laid, "object"), "composite", **roles)]
            break
    return kept


def _with_shadow(read: Sequence[IntendedOperation], num_images: int) -> list[IntendedOperation]:
    """A shadow is no thing to draw: it falls on the ground that a subject is laid on, or on the picture's own."""
    kept = [one for one in read if not (one.name == "add_object" and _SHADOW.match(str(one.slots.get("object", ""))))]
    if len(kept) == len(read) or not num_images:
        return list(read)
    grounds = [one.name for one in kept]
    if "replace_background" in grounds:
        return [_with(one, shadow=_SHADOW_STRENGTH) if one.name == "replace_background" else one for one in kept]
    if "remove_background" in grounds:
        return kept
    added = next(one for one in read if one not in kept)
    return [
        *kept,
        replace(
            added, name="replace_background", slots=MappingProxyType({"shadow": _SHADOW_STRENGTH, "own_ground": 1})
        ),
    ]


def _with_round_corners(operations: Sequence[IntendedOperation]) -> list[IntendedOperation]:
    """Corners are cut round at the end: by the crop that is there, or by one more."""
    found = next((one for one in operations if "corner_radius" in one.slots), None)
    if found is None or (found is operations[-1] and found.name == "crop" and "round" not in found.slots):
        return list(operations)
    cut = {name: found.slots[name] for name in ("corner_radius", "round") if name in found.slots}
    bare = [_without(one, *cut) if one is found else one for one in operations]
    if found.name == "crop" and found is operations[-1]:
        bare, cut = bare[:-1], {**bare[-1].slots, **cut}
        return [*bare, IntendedOperation("crop", MappingProxyType(cut), found.clause)]
    at = len(bare) - (bare[-1].name == "animate")
    return [*bare[:at], IntendedOperation("crop", MappingProxyType(cut), ""), *bare[at:]]


def _on_paper(operations: Sequence[IntendedOperation]) -> list[IntendedOperation]:
    """A size on paper is a size in pixels: of the resize or crop that is asked for, or of one more at the end."""
    found = next((one for one in operations if one.slots.get("paper")), None)
    if found is None:
        return list(operations)
    width, height = (found.slots[f"paper_{side}"] for side in ("width", "height"))
    size = {name: found.slots[name] for name in ("paper", "dpi", "either_way") if name in found.slots}
    size |= {"width": width, "height": height}
    for at, one in enumerate(operations):
        if one.name == "resize" or (one.name == "crop" and not any(one.slots.get(name) for name in ("aspect", "trim"))):
            bare = _without(one, "percent", "scale", "platform", "formats")
            placed = _with(bare, "crop" if one.slots.get("object") else "resize", **size)
            return [*operations[:at], placed, *operations[at + 1 :]]
    return [*operations, IntendedOperation("resize", MappingProxyType(size), str(found.slots["paper"]))]


def _written_not_drawn(operations: Sequence[IntendedOperation]) -> list[IntendedOperation]:
    """What is written on a picture is no part of what is drawn, and no thing to be given a colour."""
    written = next((str(one.slots["text"]) for one in operations if one.name == "write_text"), "")
    if not written:
        return list(operations)
    kept = [one for one in operations if one.name != "color_correct" or written not in str(one.slots.get("object", ""))]
    return [
        _with(one, prompt=overlays.without_words(str(one.slots["prompt"]), written))
        if one.name == "generate" and one.slots.get("prompt")
        else one
        for one in kept
    ]


def _without_echoes(operations: Sequence[IntendedOperation]) -> list[IntendedOperation]:
    """Without a resize to the pixels that the same words add as room."""
    room = {one.slots.get("pixels"): one.clause for one in operations if one.name == "extend"}

    def echoes(one: IntendedOperation) -> bool:
        size = {name: value for name, value in one.slots.items() if name in ("width", "height", "percent", "scale")}
        return one.name == "resize" and len(size) == 1 and room.get(*size.values()) == one.clause

    return [one for one in operations if not echoes(one)]
