"""Which pictures are shown in training, and what is said of them: single things, scenes, pairs, counts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from training.generator.captions import caption, count_caption, is_countable, pair_caption, scene_caption, thing_phrase
from training.generator.colours import BACKGROUNDS
from training.generator.scenes import COUNTS, PAIR, SCENES, Placed, place_in


@dataclass(frozen=True)
class Sample:
    """One training picture: its ground by name, the drawings on it, and its caption."""

    ground: str
    things: tuple[Placed, ...]
    text: str


@dataclass(frozen=True)
class Chosen:
    """A drawing chosen for a picture, in one of its colours."""

    concept: dict[str, Any]
    drawing: int
    variant: int
    colour: str
    repainted: bool


class Mixture:
    """Endless samples from the drawings of `index`; pairs of colour and thing that are held out never come."""

    def __init__(self, index: dict[str, Any], data: dict[str, Any], seed: int) -> None:
        self.index, self.data, self.rng = index, data, random.Random(seed)
        self.native: dict[int, int] = {}
        self.painted: dict[int, list[int]] = {}
        for number, variant in enumerate(index["variants"]):
            if variant["native"]:
                self.native[variant["drawing"]] = number
            else:
                self.painted.setdefault(variant["drawing"], []).append(number)
        self.drawings: dict[int, list[int]] = {}
        for number, drawing in enumerate(index["drawings"]):
            self.drawings.setdefault(drawing["concept"], []).append(number)
        self.numbers = list(self.drawings)
        self.weights = [index["concepts"][number]["weight"] for number in self.numbers]

    def draw(self) -> Sample:
        """The next sample."""
        kinds = {"single": self.single, "scene": self.scene, "pair": self.pair, "count": self.count}
        (kind,) = self.rng.choices(list(kinds), [self.data["kinds"][name] for name in kinds])
        return kinds[kind]()

    def choose(self) -> Chosen:
        """A thing to draw."""
        while True:
            (number,) = self.rng.choices(self.numbers, self.weights)
            concept = self.index["concepts"][number]
            drawings = self.drawings[number]
            shares = [self.data["pack_shares"][self.index["drawings"][d]["pack"]] for d in drawings]
            (drawing,) = self.rng.choices(drawings, shares if any(shares) else None)
            repainted = drawing in self.painted and self.rng.random() < self.data["recoloured"]
            variant = self.rng.choice(self.painted[drawing]) if repainted else self.native[drawing]
            colour = self.index["variants"][variant]["colour"]
            if f"{colour} {concept['noun']}" not in self.data["held_out"]:
                return Chosen(concept, drawing, variant, colour, repainted)

    def phrase(self, chosen: Chosen, colour_share: float) -> str:
        """The thing in words, with its colour where it was repainted, else in `colour_share` of the cases."""
        said = bool(chosen.colour) and (chosen.repainted or self.rng.random() < colour_share)
        concept = chosen.concept
        return thing_phrase(concept["noun"], concept["others"], chosen.colour, said, self.rng)

    def ground(self, *colours: str) -> str:
        """White, or another background colour than those of the things."""
        if self.rng.random() < self.data["plain_white"]:
            return "white"
        return self.rng.choice([word for word in BACKGROUNDS if word != "white" and word not in colours])

    def single(self) -> Sample:
        """One thing as large as the canvas."""
        chosen = self.choose()
        ground = self.ground(chosen.colour)
        pack = self.data["packs"][self.index["drawings"][chosen.drawing]["pack"]]
        style = pack["style"] if self.rng.random() < self.data["styled"] else ""
        said = ground if ground != "white" or self.rng.random() < 0.2 else ""
        text = caption(self.phrase(chosen, 0.45), style=style, background=said, rng=self.rng)
        return Sample(ground, (Placed(chosen.variant, 0.5, 0.5, 1.0),), text)

    def scene(self) -> Sample:
        """One thing in a scene."""
        chosen = self.choose()
        name = self.rng.choice(list(SCENES))
        text = scene_caption(self.phrase(chosen, 0.4), self.rng.choice(SCENES[name].phrases), self.rng)
        return Sample(name, (place_in(SCENES[name], chosen.variant, self.rng),), text)

    def pair(self) -> Sample:
        """Two different things side by side, named from left to right."""
        left, right = self.choose(), self.choose()
        while right.concept is left.concept:
            right = self.choose()
        ground = self.ground(left.colour, right.colour)
        text = pair_caption(self.phrase(left, 0.5), self.phrase(right, 0.5), ground, self.rng)
        things = (Placed(one.variant, *place) for one, place in zip((left, right), PAIR, strict=True))
        return Sample(ground, tuple(things), text)

    def count(self) -> Sample:
        """Two to four of a thing."""
        chosen = self.choose()
        while not is_countable(chosen.concept["noun"]):
            chosen = self.choose()
        number = self.rng.choice(list(COUNTS))
        ground = self.ground(chosen.colour)
        said = chosen.colour if chosen.colour and (chosen.repainted or self.rng.random() < 0.4) else ""
        text = count_caption(number, chosen.concept["noun"], said, ground, self.rng)
        places = self.rng.choice(COUNTS[number])
        return Sample(ground, tuple(Placed(chosen.variant, *place) for place in places), text)
