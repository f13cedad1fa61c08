"""Operations that a goal implies without naming them, each with the reason why it was added."""

import re
from collections.abc import Sequence

from services.orchestrator.planning.colors import color_of
from services.orchestrator.planning.wanted import Value, Wanted, has

_PRODUCT = re.compile(
    r"\b(products?|produkte?|produkt\w*|produits?|productos?|articles?|artikel)\b|产品|商品", re.IGNORECASE
)
_SHOP = re.compile(
    r"\b(shops?|stores?|webshop|onlineshop|listings?|catalog(?:ue)?|marketplace|e-?commerce|katalog|boutique|tienda|"
    r"catálogo|amazon|etsy|ebay|shopify)\b|商店|店铺|网店|淘宝",
    re.IGNORECASE,
)
_STICKER = re.compile(r"\b(stickers?|aufkleber|autocollants?|pegatinas?)\b|贴纸", re.IGNORECASE)
_TRANSPARENT = re.compile(
    r"\b(?:transparent|no|without(?: an?| any)?)[- ](?:back)?(?:ground|backdrop)\b|\btransparente[mn]? hintergrund\b|"
    r"\bohne hintergrund\b|\bfond transparent\b|\bfondo transparente\b|\bsin fondo\b|\bon transparent\b|透明背景",
    re.IGNORECASE,
)
_LARGE = re.compile(
    r"\b(posters?|prints?|wallpapers?|billboard|high[- ]res(?:olution)?|hi-?res|4k|large format|plakat|affiche|"
    r"póster)\b",
    re.IGNORECASE,
)
_GROUND = re.compile(r"\b(?:on|onto|auf|sur|sobre)\s+(?=\S)", re.IGNORECASE)
_WORD = re.compile(r"[^\s,.;!?]+")
_AFTER_A_GROUND = re.compile(
    r"$|[,.;!?]|(?:background|backdrop|ground|canvas|hintergrund|fond|fondo|and|then|for|with|at|in|und|dann|für|et|puis|pour|y|luego|"
    r"para|please|bitte)\b",
    re.IGNORECASE,
)
_LOOK_OF_IT = re.compile(
    r"(?:,|\band\b|\bthen\b)[^.]*\b(?:match|give|apply|transfer|use|put|copy)\b[^.]*\b(?:look|style|mood|palette|tones?|"
    r"colou?rs|atmosphere|feel)\b.*",
    re.IGNORECASE | re.DOTALL,
)
# What a shop picture may already have been asked to be; any other operation means that more than that is wanted.
_SHOP_PARTS = frozenset({"replace_background", "remove_background", "crop", "resize", "enhance", "extend"})
_MARGIN, _SHADOW = 0.1, 0.5
_DRAWN_LOOK = 0.6


def with_implied(goal: str, operations: Sequence[Wanted], num_images: int) -> list[Wanted]:
    """The operations and those that the goal implies; unchanged when it implies nothing."""
    asked = _ground_named(goal, operations) if num_images else list(operations)
    if num_images and _SHOP.search(goal) and _is_product(goal, asked):
        return _for_a_shop(_around_the_subject(asked))
    asked = _with_room(_around_the_subject(asked))
    if num_images and has(asked, "generate"):
        return _gently(_look_of_what_is_drawn(goal, asked))
    if has(asked, "generate") and not has(asked, "remove_background", "replace_background"):
        if said := _TRANSPARENT.search(goal):
            why = f"Added: the goal says “{said[0]}”."
            asked = _after_drawing(asked, Wanted("remove_background", because=why))
        elif _STICKER.search(goal):
            asked = _after_drawing(asked, Wanted("remove_background", because="Added: a sticker has no background."))
    sized = has(asked, "upscale", "resize", "animate") or any("width" in one.slots for one in asked)
    if has(asked, "generate") and not sized and (said := _LARGE.search(goal)):
        why = f"Added: “{said[0]}” needs more pixels than the model draws."
        asked = _after_drawing(asked, Wanted("upscale", {"scale": 4}, because=why))
    return asked


def named_ground(goal: str) -> str:
    """The words of a plain ground that the goal puts something on, such as "white" or "#ffeedd"; empty if none."""
    for match in _GROUND.finditer(goal):
        phrase = re.split(r"[,.;!?]", goal[match.end() :])[0]
        words = list(_WORD.finditer(goal, match.end(), match.end() + len(phrase)))[:4]
        for word in reversed(words):
            said = goal[match.end() : word.end()]
            if color_of(said) is not None and _AFTER_A_GROUND.match(goal[word.end() :].lstrip()):
                return said
    return ""


def _ground_named(goal: str, operations: Sequence[Wanted]) -> list[Wanted]:
    """With the plain ground that the goal names, where the reading lost it or took too much for it."""
    ground = named_ground(goal)
    if not ground or has(operations, "generate", "vary", "add_object", "composite"):
        return list(operations)
    if has(operations, "replace_background"):
        return [
            one.with_slots(background=ground)
            if one.name == "replace_background" and color_of(str(one.slots.get("background", ""))) is None
            else one
            for one in operations
        ]
    why = f"The goal says “on {ground}”."
    laid = Wanted("replace_background", {"background": ground}, because=why)
    shapes = next(
        (at for at, one in enumerate(operations) if one.name in ("crop", "resize", "animate")), len(operations)
    )
    return [*operations[:shapes], laid, *operations[shapes:]]


def _around_the_subject(operations: Sequence[Wanted]) -> list[Wanted]:
    """A crop to an aspect keeps the subject whole where the subject is all that the picture shows."""
    why = "Around the subject, so that nothing of it is cut off."
    bare = False
    kept = []
    for one in operations:
        aims = one.name == "crop" and "aspect" in one.slots and not one.slots.get("platform")
        kept.append(one.with_slots(why, subject=1) if aims and bare else one)
        bare = bare or one.name in ("remove_background", "replace_background")
    return kept


def _with_room(operations: Sequence[Wanted]) -> list[Wanted]:
    """A crop to an aspect around what stands on a plain ground leaves room about it, filled with that ground."""
    ground: str | None = None
    framed: list[Wanted] = []
    for one in operations:
        if one.name == "replace_background":
            ground = color_of(str(one.slots.get("background", "")))
        if one.name == "crop" and ground is not None and one.slots.get("subject") and not one.slots.get("width"):
            shape = {"aspect": one.slots["aspect"], "color": ground}
            near: dict[str, Value] = {"subject": 1, "margin": _MARGIN}
            framed.append(Wanted("crop", near, one.clause, one.because))
            framed.append(Wanted("extend", shape, one.clause, "The ground fills what is missing."))
        else:
            framed.append(one)
    return framed


def _gently(operations: Sequence[Wanted]) -> list[Wanted]:
    """A look that is drawn for the purpose is laid on in part, where the goal does not say how strongly."""
    why = f"What is drawn has strong colours: {_DRAWN_LOOK:.0%} of its look keep the photograph natural."
    drawn = False
    kept = []
    for one in operations:
        open_ = one.name == "match_style" and drawn and "strength" not in one.slots
        kept.append(one.with_slots(why, strength=_DRAWN_LOOK) if open_ else one)
        drawn = drawn or one.name == "generate"
    return kept


def _is_product(goal: str, operations: Sequence[Wanted]) -> bool:
    told = _PRODUCT.search(goal) or has(operations, "replace_background", "remove_background")
    return bool(told) and all(operation.name in _SHOP_PARTS for operation in operations)


def _for_a_shop(operations: Sequence[Wanted]) -> list[Wanted]:
    """Cut out, on white, with a soft shadow, square; what was asked for otherwise stays as it was asked."""
    asked = {operation.name: operation for operation in operations}
    ground = asked.get("replace_background")
    if ground is None or color_of(str(ground.slots.get("background", ""))) is None:
        words = ground.clause if ground else ""
        ground = Wanted("replace_background", {"background": "white"}, words, "A shop shows its products on white.")
    plain = color_of(str(ground.slots["background"])) or "#ffffff"
    first = [asked["enhance"]] if "enhance" in asked else []
    why = "Added: a soft shadow, so that the product stands on something."
    laid = ground.with_slots(why, shadow=_SHADOW)
    if "crop" in asked or {"width", "height"} & set(asked.get("resize", ground).slots):
        framed, squared = [], []
    else:
        frame: dict[str, Value] = {"subject": 1, "margin": _MARGIN}
        framed = [Wanted("crop", frame, because="Added: shops show the product in the middle, and large.")]
        fill = {"aspect": "1:1", "color": plain}
        squared = [Wanted("extend", fill, because="Added: shops show squares; the ground fills what is missing.")]
    shaped = [asked[name] for name in ("crop", "extend", "resize") if name in asked]
    # The ground is made square first: the shadow then has room to fade out.
    return [*first, *framed, *squared, laid, *shaped]


def _look_of_what_is_drawn(goal: str, operations: Sequence[Wanted]) -> list[Wanted]:
    """Where what is drawn is to lend its look to the pictures that came along."""
    said = _LOOK_OF_IT.search(goal)
    if said is None or has(operations, "match_style", "style_transfer", "replace_background", "composite"):
        return list(operations)
    drawn = []
    for one in operations:
        prompt = str(one.slots.get("prompt", ""))
        short = _LOOK_OF_IT.sub("", prompt).strip(" ,.") if one.name == "generate" else ""
        drawn.append(one.with_slots(prompt=short) if short else one)
    return [*drawn, Wanted("match_style", {}, said[0].strip(" ,."))]


def _after_drawing(operations: Sequence[Wanted], added: Wanted) -> list[Wanted]:
    at = next(number for number, operation in enumerate(operations) if operation.name == "generate") + 1
    return [*operations[:at], added, *operations[at:]]
