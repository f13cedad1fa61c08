"""Words for a picture: what is in it, its colour, its style and its background, in many forms."""

from __future__ import annotations

import random
from collections.abc import Sequence

from training.generator.colours import PAINTS

FORMS = (
    "{thing}",
    "{a_thing}",
    "{a_thing}",
    "{a_thing} icon",
    "{a_thing} icon",
    "{thing} icon",
    "{thing} emoji",
    "an icon of {a_thing}",
    "icon of {a_thing}",
    "a drawing of {a_thing}",
    "a picture of {a_thing}",
    "a simple icon of {a_thing}",
    "a cute {thing}",
    "{thing} clipart",
    "draw {a_thing}",
    "an emoji of {a_thing}",
    "illustration of {a_thing}",
)
WHITE_FORMS = (" on a white background", ", white background", " on white", " on a plain background")
BACKGROUND_FORMS = (" on a {word} background", ", {word} background", " on {word}", " in front of a {word} background")
PLURALS = ("glasses", "sunglasses", "jeans", "headphones", "cherries", "grapes", "eyes", "lips", "socks", "high heels")


def article(thing: str) -> str:
    """`thing` with its indefinite article; plural things have none."""
    if thing.endswith(PLURALS) or thing.startswith(("two ", "piece", "slice", "pile", "bunch")):
        return f"a {thing}" if thing.startswith(("piece", "slice", "pile", "bunch")) else thing
    return f"an {thing}" if thing[0] in "aeiou" and not thing.startswith(("uf", "uni", "eu")) else f"a {thing}"


def colour_of(words: str) -> str:
    """The colour word that a noun phrase holds, or the empty string."""
    return next((word for word in words.split() if word in PAINTS), "")


def choose_noun(noun: str, others: Sequence[str], colour: str, rng: random.Random) -> str:
    """A noun for the concept; a phrase that names a colour is chosen only where that colour is drawn."""
    fitting = [other for other in others if colour_of(other) in ("", colour)]
    return rng.choice(fitting) if fitting and rng.random() < 0.4 else noun


def caption(
    noun: str, others: Sequence[str], *, colour: str, say_colour: bool, style: str, background: str, rng: random.Random
) -> str:
    """One sentence for a picture; empty `style` or `background` are not mentioned."""
    thing = choose_noun(noun, others, colour, rng)
    if say_colour and colour_of(thing) == "":
        thing = f"{colour} {thing}"
    form = rng.choice(FORMS)
    text = form.format(thing=thing, a_thing=article(thing))
    if style:
        text += f", {style}"
    if background == "white":
        text += rng.choice(WHITE_FORMS)
    elif background:
        text += rng.choice(BACKGROUND_FORMS).format(word=background)
    return text
