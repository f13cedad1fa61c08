"""The details of one operation from the words that ask for it."""

import re
from collections.abc import Callable, Mapping

from services.orchestrator.intent import amounts, formats, parts, phrasing, shades, tones

Value = str | float | int
Tagged = Mapping[str, str]  # slot -> the words that the head tagged with it

PLATFORMS = (
    "youtube thumbnail", "instagram story", "instagram post", "instagram", "facebook", "linkedin", "youtube", "tiktok",
    "pinterest", "twitter", "etsy", "amazon", "shopify", "ebay", "whatsapp", "discord", "twitch", "tinder", "snapchat",
    "spotify", "reddit",
)  # fmt: skip
_QUOTED = re.compile(r"[\"“„«]([^\"”“»]{1,200})[\"”“»]|(?<!\w)'([^']{1,200})'(?!\w)")
_MOTION = re.compile(
    r"zoom(?:s|ing)? (?:in|out)|\bzoom\b|\bpan(?:ning|s)?\b|orbit|parallax|3d|dolly|fly\w*|drift\w*", re.IGNORECASE
)
_SIDES = (
    ("all", r"all (?:sides|directions)|every side|around|outwards|rundherum|autour|alrededor|四周"),
    ("horizontal", r"horizontal|both sides|left and right|sides|wider|widen|beiden seiten|deux côtés|ambos lados|两边"),
    ("vertical", r"vertical|top and bottom|taller"),
    ("left", r"\bleft|links|gauche|izquierda|左"),
    ("right", r"\bright|rechts|droite|derecha|右"),
    ("up", r"\btop\b|above|upward|\bup\b|sky|headroom|oben|en haut|arriba|上"),
    ("down", r"bottom|below|downward|\bdown\b|unten|en bas|abajo|下"),
)  # fmt: skip
_COUNTER = re.compile(
    r"counter-?\s?clockwise|anti-?\s?clockwise|\bccw\b|\bleft\b|links|gauche|izquierda|逆时针|向左", re.IGNORECASE
)
_LEVEL = re.compile(
    r"straight|level|horizon|crooked|slant|tilt|skew|upright|lean|begradig|gerade|schief|redress|"
    r"droit|endereza|torcid|拉直|校正|摆正|歪",
    re.IGNORECASE,
)
_MIRROR = re.compile(
    r"flip|mirror|reflect|spieg|retourne|inverse|miroir|voltea|refleja|espejo|翻转|镜像|swap(?:ping)? left",
    re.IGNORECASE,
)
_COLOUR = re.compile(
    r"(?:\b(?:dark|light|bright|pale|deep|pastel|neon|navy|sky|royal|emerald|jet|lime|mint|olive|burnt|platinum|ash|honey|copper)\s)?"
    r"\b(?:red|blue|green|yellow|orange|purple|pink|white|black|gr[ae]y|brown|gold(?:en)?|silver|turquoise|teal|navy|maroon|"
    r"crimson|magenta|violet|lavender|cream|beige|ivory|coral|blonde?|rot|blau|grün|gelb|schwarz|weiß|lila|rosa|rouge|bleue?|"
    r"verte?|jaune|noire?|blanche?|rojo|azul|verde|amarillo|negro|blanco|morado)\b|#[0-9a-f]{6}\b|"
    r"[红蓝绿黄黑白紫橙粉棕金灰]色",
    re.IGNORECASE,
)
_GREY = re.compile(r"\bin colou?r\b|colou?red\b|colou?r (?:splash|pop)|selective|desaturat|grey|gray", re.IGNORECASE)
_AIMED = re.compile(
    r"\b(?:crop|zoom|cut|trim|tighten|go|move|come)\w*(?: (?:it|this|down|in|closer|tight\w*))* (?:to|on|onto|around) "
    r"(?:the|her|his|my|their|its) (?!(?:edges?|borders?|square|left|right|top|bottom|cent|middle|rule|size)\b)"
    r"([\w' ]{2,40}?)(?=\s+(?:and|then|before|after|at|for|as|by)\b|[,.;]|$)",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\b((?:on|in|next to|behind|in front of|beside|under|above|near|at|below|into|onto|"
    r"over)\s+(?:the|his|her|my|its|both)\s+[\w' ]{2,40})",
    re.IGNORECASE,
)


def _taken(tagged: Tagged, *names: str) -> dict[str, Value]:
    return {name: tagged[name] for name in names if name in tagged}


def _of_the_rest(text: str, adjusted: Mapping[str, Value]) -> dict[str, Value]:
    """What happens to all but one thing: where that keeps its colour, or the rest loses it, the rest is grey."""
    return {"tone": "grayscale"} if _GREY.search(text) else dict(adjusted)


def _platform(text: str) -> dict[str, Value]:
    lowered = text.lower()
    return next(({"platform": name} for name in PLATFORMS if re.search(rf"\b{name}\b", lowered)), {})


def _aspect(text: str) -> dict[str, Value]:
    ratio = amounts.aspect(text)
    return {"aspect": ratio} if ratio else {}


def _strength(text: str) -> dict[str, Value]:
    value = tones.strength(text)
    return {"strength": value} if value is not None else {}


def _quoted(text: str) -> str | None:
    match = _QUOTED.search(text)
    return (match[1] or match[2]).strip() if match else None


def _generate(text: str, tagged: Tagged) -> dict[str, Value]:
    count = amounts.count(text)
    size = amounts.size(text)
    return {
        **_taken(tagged, "prompt", "style"),
        **({"count": count} if count and count <= 16 and _asks_for_pictures(text) else {}),
        **({"width": size[0], "height": size[1]} if size else {}),
        **_platform(text),
        **(_aspect(text) if re.search(r"\d\s?:\s?\d", text) else {}),
    }


def _asks_for_pictures(text: str) -> bool:
    return bool(
        re.search(
            r"\b(?:images|pictures|photos|icons|logos|versions|variations|options|ideas|designs|bilder|varianten)\b",
            text,
            re.IGNORECASE,
        )
    )


def _vary(text: str, tagged: Tagged) -> dict[str, Value]:
    count = amounts.count(text)
    return {**_taken(tagged, "style"), **({"count": count} if count else {}), **_strength(text), "prompt": text}


def _animate(text: str, tagged: Tagged) -> dict[str, Value]:
    duration = amounts.seconds(text)
    motion = _MOTION.search(text)
    return {**({"duration": duration} if duration else {}), **({"motion": motion[0].lower()} if motion else {})}


def _upscale(text: str, tagged: Tagged) -> dict[str, Value]:
    scale = amounts.factor(text)
    if scale is not None:
        return {"scale": int(scale) if scale == int(scale) else scale}
    return dict(amounts.sides(text))


def _resize(text: str, tagged: Tagged) -> dict[str, Value]:
    sides = amounts.sides(text)
    if sides:
        return {**sides, **_platform(text)}
    share = amounts.percent(text)
    return {**({"percent": share} if share else {}), **_platform(text)}


def _crop(text: str, tagged: Tagged) -> dict[str, Value]:
    aimed = _AIMED.search(text)
    return {
        **({"object": aimed[1].strip()} if aimed else {}),
        **_taken(tagged, "object"),
        **_aspect(text),
        **(amounts.sides(text) if amounts.size(text) else {}),
        **_platform(text),
    }


def _extend(text: str, tagged: Tagged) -> dict[str, Value]:
    side = next((name for name, pattern in _SIDES if re.search(pattern, text, re.IGNORECASE)), None)
    share = amounts.percent(text)
    # Where two ratios are named ("this 1:1 into 21:9") the last one is wanted.
    ratios = [f"{a}:{b}" for a, b in re.findall(r"(?<![\d:])(\d{1,2})\s?:\s?(\d{1,2})(?![\d:])", text)]
    return {
        **({"direction": side} if side else {}),
        **({"aspect": ratios[-1]} if ratios else _aspect(text)),
        **({"scale": 1 + share / 100} if share else {}),
    }


def _rotate(text: str, tagged: Tagged) -> dict[str, Value]:
    if _MIRROR.search(text):
        upright = re.search(r"vertical|upside|top to bottom|上下|垂直", text, re.IGNORECASE)
        return {"direction": "vertical" if upright else "horizontal"}
    degrees = amounts.angle(text)
    if degrees is None:
        if _LEVEL.search(text):
            return {"direction": "level"}
        if re.search(
            r"sideways|on its side|left|right|clockwise|portrait|links|rechts|gauche|droite", text, re.IGNORECASE
        ):
            degrees = 90.0
        else:
            return {}
    counter = bool(_COUNTER.search(text))
    return {"angle": -degrees if counter else degrees, "direction": "counterclockwise" if counter else "clockwise"}


def _color_correct(text: str, tagged: Tagged) -> dict[str, Value]:
    found: dict[str, Value] = _taken(tagged, "object", "color")
    adjusted = tones.adjustments(text)
    part = parts.part_of(text)
    if spared := phrasing.spared(text):
        # "Everything black and white except the dog": the dog is what is not meant.
        return {"spared": spared, **_of_the_rest(text, adjusted)}
    if "tone" in adjusted and found.get("object", part) == part:
        # In "make it black and white" neither black nor white is a colour to give.
        return {"object": part, **adjusted} if part else dict(adjusted)
    if moved := shades.shift(text):
        # "The sky more blue" keeps its own colour and goes towards that one.
        of = part or phrasing.of_degree(str(found.get("object", "")))
        return {**({"object": of} if of else {}), **adjusted, **{k: v * tones.degree(text) for k, v in moved.items()}}
    # The last colour is the wanted one: "from red to blue"; the thing stands before it: "paint the old fence blue".
    for said in _COLOUR.finditer(text):
        if thing := phrasing.coloured(text[: said.start()]):
            found |= {"object": thing, "color": said[0].lower()}
            break
        if "object" in found and "color" not in found:
            found["color"] = said[0].lower()
    if "color" in found and (thing := str(found.get("object", "")).removesuffix(str(found["color"])).strip()):
        found["object"] = thing
    # In "the sky more blue" what follows is no part of the name.
    if part and str(found.get("object", part)).lower().startswith(part):
        found["object"] = part
    return found if "color" in found else {**found, **adjusted}


def _replace_object(text: str, tagged: Tagged) -> dict[str, Value]:
    return {**_taken(tagged, "object", "replacement"), **phrasing.exchanged(text)}


def _add_object(text: str, tagged: Tagged) -> dict[str, Value]:
    found: dict[str, Value] = {**_taken(tagged, "object"), **phrasing.added(text)}
    said = _quoted(text)
    if said:
        found |= {"object": "text", "text": said}
    place = _PLACE.search(text)
    return {**found, **({"position": place[1].strip()} if place else {})}


def _remove_object(text: str, tagged: Tagged) -> dict[str, Value]:
    tags: dict[str, Value] = {"object": phrasing.things(tagged["object"])} if "object" in tagged else {}
    return {**tags, **phrasing.removed(text)}


def _object(text: str, tagged: Tagged) -> dict[str, Value]:
    return _taken(tagged, "object")


def _background(text: str, tagged: Tagged) -> dict[str, Value]:
    found = {**_taken(tagged, "background"), **phrasing.backdrop(text)}
    return {name: phrasing.setting(str(value)) for name, value in found.items()}


def _style(text: str, tagged: Tagged) -> dict[str, Value]:
    said = phrasing.named_style(text) or tagged.get("style")
    return {"style": phrasing.style_name(said)} if said else {}


def _treatment(text: str, tagged: Tagged) -> dict[str, Value]:
    return _strength(text)


def _question(text: str, tagged: Tagged) -> dict[str, Value]:
    return {"question": text}


_READERS: dict[str, Callable[[str, Tagged], dict[str, Value]]] = {
    "generate": _generate, "vary": _vary, "animate": _animate, "upscale": _upscale, "resize": _resize, "crop": _crop,
    "extend": _extend, "rotate": _rotate, "color_correct": _color_correct, "replace_object": _replace_object,
    "add_object": _add_object, "remove_object": _remove_object, "remove_background": _object, "retouch": _treatment,
    "replace_background": _background, "style_transfer": _style, "enhance": _treatment, "denoise": _treatment,
    "deblur": _treatment, "blur_background": _treatment, "analyze": _question, "match_style": _style,
    "composite": _object,
}  # fmt: skip


# The slots whose words the head tags, and whether the operation means little without them.
TAGGED: dict[str, tuple[str, ...]] = {
    "generate": ("prompt",), "vary": ("style",), "crop": ("object",), "color_correct": ("object", "color"),
    "replace_object": ("object", "replacement"), "add_object": ("object",), "remove_object": ("object",),
    "remove_background": ("object",), "replace_background": ("background",), "style_transfer": ("style",),
    "match_style": ("style",), "composite": ("object",),
}  # fmt: skip
_NEEDED = frozenset({"replace_object", "add_object", "remove_object", "replace_background", "style_transfer"})


def needed(operation: str, clause: str) -> bool:
    """True where the operation means little without its tagged words; for a correction, where a colour is named."""
    return operation in _NEEDED or (operation == "color_correct" and _COLOUR.search(clause) is not None)


def slots_of(operation: str, clause: str, tagged: Tagged) -> dict[str, Value]:
    """The slots of one operation: amounts from the words of its clause, names from the head's tags in it."""
    found = _READERS[operation](clause, tagged)
    if operation not in ("generate", "vary", "analyze") and (said := formats.named(clause)):
        found["format"] = said
    return found
