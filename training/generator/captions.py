"""Words for a picture: what is in it, its colour, its style and its background, in many forms."""

from __future__ import annotations

import random
from collections.abc import Sequence

import inflect

from training.generator.colours import PAINTS

_words = inflect.engine()

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
SCENE_FORMS = ("{a_thing} {place}", "{a_thing} {place}", "{thing} {place}", "a picture of {a_thing} {place}")
PAIR_FORMS = (
    "{a_left} and {a_right}",
    "{a_left} and {a_right}",
    "{a_left} next to {a_right}",
    "{a_left} beside {a_right}",
    "{left} and {right}",
)
COUNT_FORMS = ("{number} {things}", "{number} {things}", "{number} {things} icon", "a picture of {number} {things}")
NUMBERS = {2: "two", 3: "three", 4: "four"}
PLURALS = ("glasses", "sunglasses", "jeans", "headphones", "cherries", "grapes", "eyes", "lips", "socks", "high heels")


def article(thing: str) -> str:
    """`thing` with its indefinite article; plural things have none."""
    if thing.endswith(PLURALS) or thing.startswith(("two ", "piece", "slice", "pile", "bunch")):
        return f"a {thing}" if thing.startswith(("piece", "slice", "pile", "bunch")) else thing
    return f"an {thing}" if thing[0] in "aeiou" and not thing.startswith(("uf", "uni", "eu")) else f"a {thing}"


def colour_of(words: str) -> str:
    """The colour word that a noun phrase holds, or the empty string."""
    return next((word for word in words.split() if word in PAINTS), "")


def is_countable(noun: str) -> bool:
    """Whether "three of it" can be said plainly."""
    return not noun.endswith(PLURALS) and " of " not in noun and not noun.startswith("two ")


def thing_phrase(noun: str, others: Sequence[str], colour: str, say_colour: bool, rng: random.Random) -> str:
    """A noun for the concept, its colour before it where asked for and not in the noun already.

    A noun that names a colour is chosen only where that colour is drawn.
    """
    fitting = [other for other in others if colour_of(other) in ("", colour)]
    thing = rng.choice(fitting) if fitting and rng.random() < 0.4 else noun
    return f"{colour} {thing}" if say_colour and colour_of(thing) == "" else thing


def on_ground(background: str, rng: random.Random) -> str:
    """The words that name a background colour; nothing for the empty string."""
    if background == "white":
        return rng.choice(WHITE_FORMS)
    return rng.choice(BACKGROUND_FORMS).format(word=background) if background else ""


def caption(thing: str, *, style: str, background: str, rng: random.Random) -> str:
    """One sentence for a picture of one thing; empty `style` or `background` are not mentioned."""
    text = rng.choice(FORMS).format(thing=thing, a_thing=article(thing))
    return text + (f", {style}" if style else "") + on_ground(background, rng)


def scene_caption(thing: str, place: str, rng: random.Random) -> str:
    """One sentence for a thing in a scene."""
    return rng.choice(SCENE_FORMS).format(thing=thing, a_thing=article(thing), place=place)


def pair_caption(left: str, right: str, background: str, rng: random.Random) -> str:
    """One sentence for two things, the left one first; the background is named where it is not white."""
    form = rng.choice(PAIR_FORMS)
    text = form.format(left=left, right=right, a_left=article(left), a_right=article(right))
    return text + on_ground("" if background == "white" else background, rng)


def count_caption(number: int, noun: str, colour: str, background: str, rng: random.Random) -> str:
    """One sentence for several of a thing; an empty `colour` is not mentioned."""
    things = f"{colour} {_words.plural_noun(noun)}".strip()
    said = rng.choice((NUMBERS[number], NUMBERS[number], str(number)))
    text = rng.choice(COUNT_FORMS).format(number=said, things=things)
    return text + on_ground("" if background == "white" else background, rng)
