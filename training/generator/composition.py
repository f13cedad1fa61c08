"""How well sentences of more than one word are drawn: colours, grounds, two things, counts, scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.generator import measures
from training.generator.captions import article
from training.generator.colours import PAINTS
from training.generator.judge import Judge, ranks_of
from training.generator.references import References

Pixels = NDArray[np.uint8]
Draw = Callable[[Sequence[str]], Pixels]  # sentences -> (N, 256, 256, 3)

# Where real drawings are put to be measured together: (x, y, side) of each, in parts of the canvas.
PLACES = {
    2: ((0.26, 0.5, 0.45), (0.74, 0.5, 0.45)),
    3: ((0.5, 0.26, 0.42), (0.26, 0.74, 0.42), (0.74, 0.74, 0.42)),
    4: ((0.26, 0.26, 0.42), (0.74, 0.26, 0.42), (0.26, 0.74, 0.42), (0.74, 0.74, 0.42)),
}


def part(values: Sequence[bool]) -> dict[str, float | int]:
    """How many of how many, and the part."""
    return {"right": int(np.sum(values)), "of": len(values), "part": round(float(np.mean(values)), 3)}


def repeated(sentences: Sequence[str], times: int) -> list[str]:
    """The sentences so many times over; the place in the list, which is the seed, differs."""
    return list(sentences) * times


def parted(phrase: str) -> tuple[str, str]:
    """(colour, noun) of a phrase; the colour is empty where none stands before the noun."""
    first, _, rest = phrase.partition(" ")
    return (first, rest) if rest and first in PAINTS else ("", phrase)


def colours(draw: Draw, pairs: Sequence[str], times: int) -> dict[str, Any]:
    """Part of "a {colour} {thing}" pictures whose measured main colour is the one asked for."""
    asked = repeated(pairs, times)
    found = [measures.colour(picture) for picture in draw([article(pair) for pair in asked])]
    right = [parted(pair)[0] == word for pair, word in zip(asked, found, strict=True)]
    wrong = sorted(
        {f"{pair}: {word or 'none'}" for pair, word, good in zip(asked, found, right, strict=True) if not good}
    )
    return part(right) | {"wrong": wrong}


def backgrounds(draw: Draw, judge: Judge, asked: dict[str, Any], times: int) -> dict[str, Any]:
    """Whether the ground has the colour asked for and is even, and whether the thing on it is named."""
    pairs = repeated([(thing, word) for thing in asked["things"] for word in asked["words"]], times)
    pictures = draw([f"{article(thing)} on a {word} background" for thing, word in pairs])
    right = [measures.ground_word(picture) == word for picture, (_, word) in zip(pictures, pairs, strict=True)]
    return {
        "ground": part(right),
        "unevenness": round(float(np.mean([measures.unevenness(picture) for picture in pictures])), 2),
        "thing in top 5": named(judge, pictures, [thing for thing, _ in pairs]),
    }


def windows(picture: Pixels) -> Pixels:
    """(5, H, W, 3) parts of a picture, three quarters of its side: the middle and four around it.

    A thing in a scene is smaller than one alone and not always in the middle.
    """
    side = picture.shape[0] * 3 // 4
    middle, step = picture.shape[0] // 8, picture.shape[0] // 16
    places = [(middle, middle)] + [(middle + y * step, middle + x * step) for y in (-1, 1) for x in (-1, 1)]
    return np.stack([picture[top : top + side, left : left + side] for top, left in places])


def named(judge: Judge, pictures: Sequence[Pixels] | Pixels, nouns: Sequence[str]) -> dict[str, Any]:
    """Part of the pictures for which the noun is among the judge's first five answers."""
    return part([rank < 5 for rank in ranks(judge, pictures, nouns)])


def ranks(judge: Judge, pictures: Sequence[Pixels] | Pixels, nouns: Sequence[str]) -> NDArray[np.int64]:
    """(N,) places of the nouns among the judge's answers; pictures may differ in size."""
    seen = [judge.look(picture[None])[0][0] for picture in pictures]
    return ranks_of(np.stack(seen), judge.nouns, nouns)


def pairs(draw: Draw, judge: Judge, asked: Sequence[Sequence[str]], times: int) -> dict[str, Any]:
    """Two things, left and right: each half named by the judge, its colour measured where one was said."""
    wanted = repeated(asked, times)
    return judge_pairs(draw([f"{article(left)} and {article(right)}" for left, right in wanted]), judge, wanted)


def judge_pairs(pictures: Sequence[Pixels] | Pixels, judge: Judge, asked: Sequence[Sequence[str]]) -> dict[str, Any]:
    """What `pairs` measures, of pictures that exist."""
    cut = [measures.halves(picture) for picture in pictures]
    sides = [[half[side] for half in cut] for side in (0, 1)]
    nouns = [[parted(pair[side])[1] for pair in asked] for side in (0, 1)]
    good = [ranks(judge, sides[side], nouns[side]) < 5 for side in (0, 1)]
    turned = [ranks(judge, sides[side], nouns[1 - side]) < 5 for side in (0, 1)]
    painted = [
        measures.colour(sides[side][number]) == parted(pair[side])[0]
        for number, pair in enumerate(asked)
        for side in (0, 1)
        if parted(pair[side])[0]
    ]
    return {
        "both as placed": part(good[0] & good[1]),
        "both either way": part((good[0] & good[1]) | (turned[0] & turned[1])),
        "one at least": part(good[0] | good[1] | turned[0] | turned[1]),
        "colours": part(painted) if painted else None,
    }


def counts(draw: Draw, asked: dict[str, Any], times: int) -> dict[str, Any]:
    """Whether as many separate pieces are seen as were asked for."""
    wanted = repeated(
        [(w, n, things) for w, n in asked["numbers"].items() for things in asked["things"].values()], times
    )
    pictures = draw([f"{word} {things}" for word, _, things in wanted])
    return judge_counts(pictures, [number for _, number, _ in wanted])


def judge_counts(pictures: Sequence[Pixels] | Pixels, numbers: Sequence[int]) -> dict[str, Any]:
    """What `counts` measures, of pictures that exist: in all and for each number."""
    right = [measures.pieces(picture) == number for picture, number in zip(pictures, numbers, strict=True)]
    each = {
        str(number): part([good for good, want in zip(right, numbers, strict=True) if want == number])
        for number in sorted(set(numbers))
    }
    return part(right) | {"by number": each}


def real_together(references: References, judge: Judge, questions: dict[str, Any], times: int) -> dict[str, Any]:
    """What is measured of real drawings put together, the ceiling of pairs and counts; colours are left as they are."""
    drawings: dict[str, list[int]] = {}
    for number, noun in enumerate(references.nouns):
        drawings.setdefault(noun, []).append(number)
    rng = np.random.default_rng(0)
    known = [[parted(one)[1], parted(two)[1]] for one, two in questions["pairs"]["asked"]]
    asked = repeated([pair for pair in known if all(noun in drawings for noun in pair)], times)
    twos = [
        references.together(
            [(int(rng.choice(drawings[noun])), *place) for noun, place in zip(pair, PLACES[2], strict=True)]
        )
        for pair in asked
    ]
    wanted = [(n, noun) for n in questions["counts"]["numbers"].values() for noun in questions["counts"]["things"]]
    wanted = repeated([(number, noun) for number, noun in wanted if noun in drawings], times)
    several = []
    for number, noun in wanted:
        chosen = int(rng.choice(drawings[noun]))
        several.append(references.together([(chosen, *place) for place in PLACES[number]]))
    return {"pairs": judge_pairs(twos, judge, asked), "counts": judge_counts(several, [n for n, _ in wanted])}


def scenes(draw: Draw, judge: Judge, asked: dict[str, Any], times: int) -> dict[str, Any]:
    """Whether the tones of the upper and lower border fit the scene, and whether the thing in it is named."""
    wanted = repeated([(thing, scene) for thing in asked["things"] for scene in asked["asked"]], times)
    pictures = draw([f"{article(thing)} {scene['phrase']}" for thing, scene in wanted])
    right: dict[str, list[bool]] = {}
    for picture, (_, scene) in zip(pictures, wanted, strict=True):
        above, below = measures.tone(picture[: measures.BORDER]), measures.tone(picture[-measures.BORDER :])
        right.setdefault(scene["phrase"], []).append(above in scene["above"] and below in scene["below"])
    seen = np.stack([judge.look(windows(picture))[0].mean(0) for picture in pictures])
    found = ranks_of(seen, judge.nouns, [thing for thing, _ in wanted])
    return {
        "ground": part([good for values in right.values() for good in values]),
        "by scene": {phrase: part(values) for phrase, values in right.items()},
        "thing in top 5": part((found < 5).tolist()),
    }
