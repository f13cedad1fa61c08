"""Labelled goals composed from phrases: single requests, ordered chains, prompts, and things to ask back about."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from services.orchestrator.intent.intent import route_of
from training.intent.grammar import Grammar, Phrase

GENERATOR = ("generate", "vary", "animate")
EDITOR = (
    "remove_background", "replace_background", "blur_background", "enhance", "denoise", "deblur", "upscale",
    "color_correct", "retouch", "remove_object", "replace_object", "add_object", "style_transfer", "match_style",
    "crop", "resize", "extend", "rotate", "composite", "analyze",
)  # fmt: skip
OPERATIONS = GENERATOR + EDITOR
_RARE = {"match_style": 0.25, "composite": 0.3, "analyze": 0.8, "generate": 0.0}
# Words of a limit ("but don't crop it") that would contradict the operation.
_TOUCHES = {
    "remove_background": "background", "replace_background": "background", "blur_background": "background|blur",
    "upscale": "size|upscal", "resize": "size|resiz", "crop": "crop|composition|proportion", "rotate": "rotat",
    "extend": "size|composition|proportion", "color_correct": "colour|bright", "retouch": "face|retouch",
    "remove_object": "remov|text|shadow", "replace_object": "text", "style_transfer": "style|filter|colour|face",
    "deblur": "sharpen", "vary": "composition|face|style", "enhance": "bright|sharpen|colour",
}  # fmt: skip
_LOOKS = ("style_transfer", "vary", "replace_background", "enhance", "animate")  # often come with a look in words
# Pairs that people mean as one request.
_ONE = (
    {"remove_background", "replace_background"}, {"vary", "generate"}, {"upscale", "resize"}, {"crop", "extend"},
    {"replace_background", "blur_background"}, {"vary", "style_transfer"}, {"remove_background", "blur_background"},
)  # fmt: skip
# What stands before wishes in a row, between them and before the last one.
_TERSE = (
    ("", ", ", ", "), ("", ", ", " and "), ("", ", ", ", then "), ("", ", then ", ", then "), ("", " + ", " + "),
    ("", ". ", ". "), ("", "; ", "; "), ("", " and ", " and "), ("", ", ", " & "), ("first ", ", then ", ", then "),
    ("first ", ", then ", ", finally "), ("", " then ", " then "), ("", "\n", "\n"), ("- ", "\n- ", "\n- "),
    ("", ", ", ", and then "), ("please ", ", ", " and "), ("", " / ", " / "), ("", " ", " and "),
)  # fmt: skip
ONTO = 0.6  # share of the requests for what has just been drawn that name it by a pronoun ("cut it out")
CONDITIONAL = 0.12  # share of requests put under a condition ("if it is too dark, ..."), where there are phrases for it


@dataclass(frozen=True)
class Goal:
    """A goal as people may write it, and what they mean by it.

    `operations` are the ones meant, even where the image for them is missing; empty where none can be read.
    """

    phrase: Phrase
    has_image: bool
    operations: tuple[str, ...]
    language: str
    kind: str

    @property
    def plan(self) -> tuple[str, ...]:
        """The operations that can be done without asking: none if they need an image that is not there."""
        possible = self.has_image or self.operations[:1] == ("generate",)
        return self.operations if possible else ()

    @property
    def route(self) -> str:
        return route_of(self.plan)


class Writer:
    """Writes English goals from a grammar."""

    def __init__(self, grammar: Grammar, frames: Grammar, rng: random.Random) -> None:
        self.grammar, self.frames, self.rng = grammar, frames, rng

    def say(self, operation: str, *kinds: str) -> Phrase | None:
        """A phrase of this operation, of one of the kinds that have any; None if none has."""
        pools = [self.grammar.sections.get((operation, kind), []) for kind in kinds]
        pools = [pool for pool in pools if pool]
        if not pools:
            return None
        nodes = self.rng.choice(self.rng.choice(pools))
        phrase = Phrase.of(self.grammar.expand(nodes, self.rng), None if operation == "clarify" else operation)
        return phrase

    def frame(self, name: str, kind: str) -> Phrase:
        nodes = self.rng.choice(self.frames.sections[name, kind])
        return Phrase.of(self.frames.expand(nodes, self.rng), None)

    def join_frame(self, kind: str) -> str:
        nodes = self.rng.choice(self.frames.sections["join", kind])
        return "".join(text for text, _ in self.frames.expand(nodes, self.rng))

    def pick(self, *excluded: str, among: tuple[str, ...] = (*EDITOR, "vary", "animate")) -> str:
        """A random operation that is no near-double of an excluded one."""
        names = [n for n in among if not nearly(n, excluded)]
        return self.rng.choices(names, [_RARE.get(n, 1.0) for n in names])[0]

    def politely(self, phrase: Phrase) -> Phrase:
        draw = self.rng.random()
        if draw < 0.24:
            phrase = self.frame("polite", "before") + " " + phrase.lowered_start()
        elif draw < 0.32:
            phrase = self.frame("condition", "before") + " " + phrase.lowered_start()
        elif draw < 0.36:
            phrase = phrase + self.rng.choice([", ", " ", " - "]) + self.frame("condition", "after")
        if self.rng.random() < 0.15:
            phrase = phrase + self.rng.choice([", ", " "]) + self.frame("polite", "after")
        return phrase

    def constrained(self, phrase: Phrase, operations: tuple[str, ...], chance: float = 0.12) -> Phrase:
        """The phrase, now and then with a limit that none of its operations breaks."""
        if self.rng.random() >= chance:
            return phrase
        limit = self.frame("constraint", "after")
        if any(re.search(_TOUCHES[name], limit.text) for name in operations if name in _TOUCHES):
            return phrase
        return phrase + self.rng.choice([", ", " ", ". ", " - "]) + limit

    def detailed(self, operation: str, phrase: Phrase) -> Phrase:
        """The phrase with sentences of detail that ask for nothing else."""
        for _ in range(self.rng.choice([1, 1, 2, 2, 3, 3, 4])):
            draw = self.rng.random()
            more = self.frame("limit", "more") if draw > 0.7 else None
            if operation in _LOOKS and draw < 0.4:
                more = self.say("look", "more")
            more = more or self.say(operation, "more")
            touches = _TOUCHES.get(operation)
            if more is not None and not (touches and more.operations[:1] == [None] and re.search(touches, more.text)):
                more = Phrase(more.text, more.slots, [None] * len(more.text))
                phrase = phrase + (". " if not phrase.text.endswith(".") else " ") + more
        return phrase

    def single(self, operation: str, *, fragments: bool) -> Phrase:
        """One request. `fragments`: it may be a mere noun phrase."""
        shares = [0.44, 0.28, 0.08 * fragments, 0.05, 0.2 * fragments]
        kind = self.rng.choices(["do", "say", "noun", "if", "core"], shares)[0]
        phrase = self.say(operation, kind) or self.say(operation, "do", "say", "noun")
        assert phrase is not None, operation
        if kind == "do":
            phrase = self.politely(phrase)
        if kind == "say" and self.rng.random() < 0.25 and (do := self.say(operation, "do")):
            phrase = phrase + self.rng.choice([". ", ", ", " - ", " so "]) + do
        if kind not in ("noun", "core") and self.rng.random() < 0.42:
            return self.detailed(operation, phrase)
        if kind != "noun" and self.rng.random() < 0.08:
            return self.frame("context", "before") + " " + phrase
        return self.constrained(phrase, (operation,))

    def act(self, operation: str) -> Phrase:
        """A request that can stand in a row."""
        kind = "if" if self.rng.random() < CONDITIONAL else "do"
        phrase = self.say(operation, kind) or self.say(operation, "do")
        assert phrase is not None, operation
        return phrase.lowered_start()

    def onto(self, operation: str) -> Phrase:
        """A request for what has just been drawn."""
        drawn = self.say(operation, "after") if self.rng.random() < ONTO else None
        return drawn or self.act(operation)

    def joined(self, operations: list[str]) -> Phrase:
        """The requests joined so that they are wanted in this order, whatever the order of the words."""
        frame = self.join_frame(("two", "three", "four")[len(operations) - 2])
        parts: dict[str, Callable[[], Phrase | None]] = {}
        for letter, operation in zip("ABCF", operations, strict=False):
            parts[letter] = partial(self.act, operation)
        parts["G"] = lambda: self.noun_form(operations[0], state=False)
        parts["H"] = lambda: self.noun_form(operations[1], state=False)
        parts["H2"] = lambda: self.noun_form(operations[-1], state=False)
        parts["S"] = lambda: self.noun_form(operations[0], state=True)
        parts["D"] = lambda: self.say(operations[0], "done")
        phrase = fill(frame, parts)
        if phrase is None:
            return self.joined(operations)
        return phrase

    def noun_form(self, operation: str, *, state: bool) -> Phrase | None:
        """ "upscaling it" or, as a state, "it is upscaled"; None if the grammar has none."""
        for _ in range(12):
            phrase = self.say(operation, "ing")
            if phrase is None:
                return None
            is_state = re.search(r" (?:is|are|has) ", phrase.text) is not None or phrase.text.startswith(
                ("it ", "you ")
            )
            if is_state == state and not phrase.text.startswith("you "):
                return phrase
        return None

    def several(self, *, fragments: bool) -> tuple[Phrase, tuple[str, ...]]:
        """Two to four requests in a row."""
        names = [self.pick()]
        for _ in range(self.rng.choices([1, 2, 3], [0.55, 0.32, 0.13])[0]):
            names.append(self.pick(*names))
        if len(names) < 4 and self.rng.random() < 0.06:
            names.insert(1, names[0])
        if fragments and self.rng.random() < 0.1:
            return self.listed()
        if fragments and len(names) == 2 and self.rng.random() < 0.2:
            kinds = [self.rng.choice(["noun", "noun", "say"]), self.rng.choice(["noun", "noun", "do"])]
            phrases = [self.say(name, kind) for name, kind in zip(names, kinds, strict=True)]
            if all(phrases):
                frame = self.join_frame("nouns")
                phrase = fill(frame, {"A": lambda: phrases[0], "B": lambda: phrases[1]})
                assert phrase is not None
                return phrase, tuple(names)
        phrase = self.politely(self.joined(names))
        if self.rng.random() < 0.08:
            phrase = self.detailed(names[-1], phrase)
        names = list(dict.fromkeys(names))
        return self.constrained(phrase, tuple(names), 0.08), tuple(names)

    def remarks(self) -> tuple[Phrase, tuple[str, ...]]:
        """Two wishes of which at least one is a remark about the picture."""
        names = [self.pick()]
        names.append(self.pick(*names))
        kinds = self.rng.choice([("say", "say"), ("say", "do"), ("do", "say")])
        one, two = (self.say(name, kind) for name, kind in zip(names, kinds, strict=True))
        phrase = None
        if one is not None and two is not None and not one.text.endswith("?"):
            frame = self.join_frame("remarks").replace("B2", "B")
            if "first" in frame:
                names.reverse()
            phrase = fill(frame, {"A": lambda: one, "B": lambda: two})
        return (phrase, tuple(names)) if phrase is not None else self.remarks()

    def told(self) -> tuple[Phrase, tuple[str, ...]]:
        """What is wrong with the picture, then what is to be done to it."""
        frame = self.join_frame("told")
        letters = [letter for letter in ("A", "A2", "B", "C") if re.search(rf"\b{letter}\b", frame)]
        names: list[str] = []
        for _ in letters:
            names.append(self.pick(*names))
        parts: dict[str, Callable[[], Phrase | None]] = {
            letter: partial(self.say, name, "say") if letter.startswith("A") else partial(self.act, name)
            for letter, name in zip(letters, names, strict=True)
        }
        phrase = fill(frame, parts)
        return (phrase, tuple(names)) if phrase is not None else self.told()

    def terse(self) -> tuple[Phrase, tuple[str, ...]]:
        """Wishes in the fewest words, one after another."""
        names = [self.pick()]
        for _ in range(self.rng.choices([1, 2, 3], [0.5, 0.35, 0.15])[0]):
            names.append(self.pick(*names))
        first, between, last = self.rng.choice(_TERSE)
        phrase = Phrase.plain(first)
        for place, name in enumerate(names):
            joint = "" if place == 0 else last if place == len(names) - 1 else between
            phrase = phrase + joint + (self.say(name, "core") or self.act(name))
        return phrase, tuple(names)

    def denied(self) -> tuple[Phrase, tuple[str, ...]]:
        """A request, or two, with another that is not wanted."""
        names = [self.pick()]
        if self.rng.random() < 0.3:
            names.append(self.pick(*names))
        other = self.pick(*names, among=tuple(n for n in EDITOR if n not in _RARE))
        wanted = self.act(names[0]) if len(names) == 1 else self.joined(names)
        parts: dict[str, Callable[[], Phrase | None]] = {
            "A": lambda: wanted,
            "G": lambda: self.noun_form(names[0], state=False),
            "X": lambda: _unwanted(self.act(other)),
            "N": lambda: _unwanted(self.noun_form(other, state=False)),
        }
        frame = self.join_frame("denied")
        if len(names) > 1 and "A" not in frame.split():
            return self.denied()
        phrase = fill(frame, parts)
        return (self.politely(phrase), tuple(names)) if phrase is not None else self.denied()

    def listed(self) -> tuple[Phrase, tuple[str, ...]]:
        """Wishes in a row as fragments; one operation may be wished for twice."""
        names = [self.pick()]
        names.append(names[0] if self.rng.random() < 0.3 else self.pick(*names))
        names.append(self.pick(*names))
        phrases = {letter: self.say(name, "noun") for letter, name in zip("ABC", names, strict=True)}
        frame = self.join_frame("nounlist")
        phrase = fill(frame, {letter: partial(phrases.get, letter) for letter in "ABC"})
        if phrase is None:
            return self.listed()
        used = names if "C" in re.findall(r"\b[ABC]\b", frame) else names[:2]
        return phrase, tuple(dict.fromkeys(used))

    def chain(self, first: str) -> tuple[Phrase, tuple[str, ...]]:
        """Something generated or varied, then edited."""
        unfit = ("analyze", "composite", "match_style", "replace_background")
        edits = tuple(n for n in (*EDITOR, "animate") if n not in (first, *unfit))
        names = [first, self.pick(first, among=edits)]
        if self.rng.random() < 0.4:
            names.append(self.pick(*names, among=edits))
        part = self.frames.sections.get(("part", names[1]))
        if len(names) == 2 and part and self.rng.random() < 0.35:
            tail = Phrase.of(self.frames.expand(self.rng.choice(part), self.rng), names[1])
            return self.act(first) + self.rng.choice([", ", ", then ", " "]) + tail, tuple(names)
        frames = ["A and B", "A and then B", "A, then B", "A, B", "A. Then B.", "A. B.", "first A, then B", "A; B",
                  "A and B afterwards", "A, afterwards B", "A. After that, B.", "A, and B", "A. Now B.",
                  "A and when it's done B", "A before you B", "after G, B", "B after G", "A. Finally B.",
                  "A, after which B", "A, after which you B"]  # fmt: skip
        if len(names) == 3:
            frames = ["A, B and C", "A, then B and C", "A, B, C", "A. B. C.", "first A, then B, finally C",
                      "A, then B, then C", "A. Then B and C.", "A; B; C", "A and B and C", "1. A 2. B 3. C",
                      "A, B and then C"]  # fmt: skip
        then = self.onto if first == "generate" else self.act
        parts: dict[str, Callable[[], Phrase | None]] = {
            letter: partial(self.act if letter == "A" else then, name)
            for letter, name in zip("ABC", names, strict=False)
        }
        parts["G"] = lambda: self.noun_form(first, state=False)
        phrase = None
        while phrase is None:
            phrase = fill(self.rng.choice(frames), parts)
        return self.politely(phrase), tuple(names)


def nearly(name: str, others: Sequence[str]) -> bool:
    """True where the operation is one of the others, or people mean it and one of them as one request."""
    return name in others or any({name, other} in _ONE for other in others)


def _unwanted(phrase: Phrase | None) -> Phrase | None:
    """The phrase without labels: its words ask for nothing."""
    return None if phrase is None else Phrase.plain(phrase.text)


def fill(frame: str, parts: dict[str, Callable[[], Phrase | None]]) -> Phrase | None:
    """The frame with its capital letters replaced by phrases; None if a phrase is missing."""
    phrase = Phrase.plain("")
    tokens = frame.replace("H2", "\0").split(" ")
    for position, token in enumerate(tokens):
        core = token.strip(",.;:()!?")
        core = "H2" if core == "\0" else core
        if position:
            phrase = phrase + " "
        if core not in parts:
            phrase = phrase + token
            continue
        part = parts[core]()
        if part is None:
            return None
        bare = "\0" if core == "H2" else core
        head, tail = token.split(bare, 1)
        if part.text.endswith((".", "?")) and tail:
            part = Phrase(part.text[:-1], part.slots[:-1], part.operations[:-1])
        opens = not phrase.text.strip() or phrase.text.rstrip().endswith(".")
        part = part if opens and not core.startswith(("G", "H", "S")) else part.lowered_start()
        phrase = phrase + head + part + tail
    return phrase


def gibberish(rng: random.Random) -> str:
    """Letters that mean nothing."""
    keys = rng.choice(["qwertyuiop", "asdfghjkl", "zxcvbnm", "bcdfghjklmnpqrstvwxz", "abcdefghijklmnopqrstuvwxyz"])
    if rng.random() < 0.12:
        return rng.choice(
            ["?", "???", "...", "!!", "-", "1234", "0", "42 17", ":)", "x", "xx", "aaaaaa", "#", "1", "ok"]
        )
    words = ["".join(rng.choice(keys) for _ in range(rng.randint(3, 9))) for _ in range(rng.randint(1, 4))]
    return " ".join(words)
