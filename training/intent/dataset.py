"""The training goals: a fixed mixture of kinds and languages, written from the phrase files with a fixed seed."""

import random
import re
import string
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from training.intent.goals import CONDITIONAL, ONTO, OPERATIONS, Goal, Writer, gibberish, nearly
from training.intent.grammar import Grammar, Phrase, load
from training.intent.labelled import GOALS, texts

PHRASES = Path(__file__).parent / "phrases"
ENGLISH = [
    "words",
    "scenes",
    "en_edit_1",
    "en_edit_2",
    "en_edit_3",
    "en_other",
    "en_detail",
    "en_more",
    "en_brief",
    "clarify",
    "en_plain_1",
    "en_plain_2",
    "en_scenes_plain",
    "clarify_plain",
    "en_steps",
    "en_wide",
    "en_spoken",
    "en_faults",
    "en_core",
    "en_acts",
    "en_said",
    "en_scenes_told",
    "en_daily",
    "en_people_1",
    "en_people_2",
    "scenes_people",
    "clarify_people",
]
FRAMES = [
    "words",
    "scenes",
    "frames",
    "frames_plain",
    "frames_steps",
    "frames_wide",
    "frames_told",
    "frames_daily",
    "frames_people",
]
_MEASURED = (
    "goals", "fresh_goals", "fresh_goals_2", "fresh_goals_3", "calibration_goals", "everyday_goals", "hard_goals",
    "household_goals", "slot_goals",
)  # fmt: skip
LANGUAGES = ("de", "fr", "es", "zh")
_EVERYDAY = ("_core", "_daily")

# kind, share, has an image. Shares need not add up to one.
MIXTURE = (
    ("single", 0.22, True),
    ("several", 0.30, True),
    ("remarks", 0.05, True),
    ("told", 0.05, True),
    ("terse", 0.04, True),
    ("denied", 0.05, True),
    ("vary_chain", 0.025, True),
    ("animate_chain", 0.025, True),
    ("generate_with_image", 0.03, True),
    ("background_chain", 0.02, True),
    ("vague", 0.035, True),
    ("gibberish", 0.006, True),
    ("outofscope", 0.012, True),
    ("scene", 0.012, True),
    ("prompt", 0.16, False),
    ("prompt_long", 0.08, False),
    ("generate_do", 0.05, False),
    ("generate_chain", 0.07, False),
    ("video", 0.012, False),
    ("single", 0.06, False),
    ("several", 0.03, False),
    ("vague", 0.03, False),
    ("followupNoImage", 0.03, False),
    ("gibberish", 0.012, False),
    ("outofscope", 0.012, False),
    ("foreign", 0.70, True),
    ("foreign", 0.22, False),
)


def read_phrases(*, everyday: bool = False) -> dict[str, Grammar]:
    """The grammar of each language, and "frames" for English ones. `everyday`: requests to edit come from the files
    of what most people say alone."""
    hands = (
        "",
        "_plain",
        "_steps",
        "_wide",
        "_spoken",
        "_core",
        "_broad",
        "_daily",
        "_people",
        "_frames_people",
        "_scenes_people",
        "_clarify_people",
    )
    own = {language: [language + hand for hand in hands] for language in LANGUAGES}
    found = load(PHRASES, {"en": ENGLISH, "frames": FRAMES} | own)
    if everyday:
        usual = load(PHRASES, {language: [language + hand for hand in _EVERYDAY] for language in ("en", *LANGUAGES)})
        for language, grammar in usual.items():
            edits = {key: lines for key, lines in grammar.sections.items() if key[0] in OPERATIONS[1:]}
            found[language].sections |= edits
            found[language].sections |= {(name, "do"): lines for (name, kind), lines in edits.items() if kind == "core"}
    return found


def goals(count: int, seed: int | str, *, everyday: bool = False) -> Iterator[Goal]:
    """`count` distinct goals, or only `everyday` ones (`read_phrases`)."""
    grammars = read_phrases(everyday=everyday)
    rng = random.Random(f"goals {seed}")
    writer = Writer(grammars["en"], grammars["frames"], rng)
    foreigners = {name: Foreigner(grammars[name], name, rng) for name in LANGUAGES}
    kinds, weights = [(k, image) for k, _, image in MIXTURE], [share for _, share, _ in MIXTURE]
    seen: set[tuple[str, bool]] = set()
    kept_out = measured()
    while len(seen) < count:
        kind, has_image = rng.choices(kinds, weights)[0]
        if kind == "foreign":
            goal = foreigners[rng.choice(LANGUAGES)].goal(has_image)
        else:
            goal = _english(writer, kind, has_image, rng)
        goal = replace(goal, phrase=worn(goal.phrase, rng))
        key = (goal.phrase.text.lower(), goal.has_image)
        if goal.phrase.text.strip() and key not in seen and _bare(goal.phrase.text) not in kept_out:
            seen.add(key)
            yield goal


def measured() -> set[str]:
    """The bare words of our own goals that the head is measured on: what happens to be one of them is left out."""
    files = [path for name in _MEASURED if (path := GOALS / f"{name}.txt").exists()]
    return {_bare(text) for path in files for text in texts(path)}


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.lower()).strip()


def _english(writer: Writer, kind: str, has_image: bool, rng: random.Random) -> Goal:
    operations: tuple[str, ...] = ()
    phrase: Phrase | None
    if kind == "single":
        operations = (writer.pick(),)
        phrase = writer.single(operations[0], fragments=has_image)
    elif kind in ("several", "remarks", "told", "terse", "denied"):
        phrase, operations = writer.several(fragments=has_image) if kind == "several" else getattr(writer, kind)()
    elif kind in ("vary_chain", "animate_chain", "generate_chain"):
        phrase, operations = writer.chain(kind.split("_")[0])
    elif kind == "background_chain":
        operations = ("generate", "replace_background")
        phrase = drawn_behind(writer.frames, rng)
    # Without an image a mere noun phrase is a description of what to generate: hence no fragments above.
    elif kind == "video":
        phrase, operations = writer.say("video", "do"), ("generate", "animate")
        assert phrase is not None
        phrase.operations[:] = ["generate" if slot == "prompt" else "animate" for slot in phrase.slots]
    elif kind == "gibberish":
        phrase = Phrase.plain(gibberish(rng))
    elif kind in ("vague", "outofscope", "scene", "followupNoImage"):
        phrase = writer.say("clarify", kind) or writer.say("clarify", "vague")
    else:
        operations = ("generate",)
        source = {"prompt": "noun", "prompt_long": "long", "generate_with_image": "withimage"}.get(kind, "do")
        kinds = (source, "say") if source == "do" else (source,)
        phrase = writer.say("generate", *kinds) or writer.say("generate", "do")
        if phrase is not None and source == "do":
            phrase = writer.politely(phrase)
    assert phrase is not None, kind
    return Goal(phrase, has_image, operations, "en", kind)


def drawn_behind(grammar: Grammar, rng: random.Random, *, english: bool = True) -> Phrase:
    """A background to be drawn, § and what is to stand in front of it; without a §, the prompt alone is drawn."""
    nodes = rng.choice([*grammar.sections["chain", "behind"], *grammar.sections.get(("chain", "background"), [])])
    phrase = Phrase.of(grammar.expand(nodes, rng), "generate", english=english)
    cut = phrase.text.find("§")
    if cut >= 0:
        kept = [at for at in range(len(phrase.text)) if at != cut]
        phrase = Phrase(
            "".join(phrase.text[at] for at in kept), [phrase.slots[at] for at in kept], list(phrase.operations[:-1])
        )
    else:
        cut = phrase.text.rfind(" and ")
    phrase.operations[:] = [
        "generate" if (at < cut or (cut < 0 and slot)) else "replace_background" for at, slot in enumerate(phrase.slots)
    ]
    return phrase


# The letters of a foreign join: whole requests; acts as a noun or infinitive; what is done; what stands after "before";
# German infinitives; what is so once the first is done; what is not wanted (X).
_REQUESTS = "ABCF"
_FORMS = {
    "M": (0, "ing"), "N": (1, "ing"), "D": (0, "done"), "V": (1, "sub"),
    "I": (0, "inf"), "J": (1, "inf"), "E": (0, "state"),
}  # fmt: skip
_LETTER = re.compile(r"(?<![A-Za-z])([ABCFMNDVIJEX])(?![A-Za-z])")
USUAL = 0.4  # share of foreign requests in the words that most people use
REMARK = 0.1  # share of foreign requests that are remarks, where there are phrases for it
_REMARK_ALONE = 0.2  # the same of those that stand alone
_SELDOM = {"composite": 0.3, "match_style": 0.3}


class Foreigner:
    """Writes goals in another language than English from its grammar."""

    def __init__(self, grammar: Grammar, language: str, rng: random.Random) -> None:
        self.grammar, self.language, self.rng = grammar, language, rng
        self.among = [n for n in OPERATIONS if n != "generate" and (n, "do") in grammar.sections]
        self.weights = [_SELDOM.get(n, 1.0) for n in self.among]

    def act(self, name: str, kind: str = "do") -> Phrase:
        nodes = self.rng.choice(self.grammar.sections[name, kind])
        pieces = self.grammar.expand(nodes, self.rng)
        return Phrase.of(pieces, None if name == "clarify" else name, english=False)

    def request(self, name: str, remark: float, *, drawn: bool = False) -> Phrase:
        """A request: as most people ask, plain, under a condition, or a remark that asks for it; often by a pronoun
        where it is for what has just been `drawn`."""
        if drawn and (name, "after") in self.grammar.sections and self.rng.random() < ONTO:
            return self.act(name, "after")
        draw = self.rng.random()
        usual = "core" if self.rng.random() < USUAL else "do"
        kind = "if" if draw < CONDITIONAL else "say" if draw < CONDITIONAL + remark else usual
        return self.act(name, kind if (name, kind) in self.grammar.sections else "do")

    def unwanted(self, names: list[str]) -> Phrase:
        """A request not to do something that is none of these operations."""
        kept = [n for n, kind in self.grammar.sections if kind == "not" and not nearly(n, names)]
        return Phrase.plain(self.act(self.rng.choice(kept), "not").text)

    def fit(self, names: list[str]) -> Phrase:
        """The requests in a frame."""
        phrase = Phrase.plain("")
        remark = REMARK if len(names) > 1 else _REMARK_ALONE
        for part in _LETTER.split(_join(self.grammar, names, self.rng)):
            if part and part in _REQUESTS:
                drawn = names[0] == "generate" and part != "A"
                phrase = phrase + self.request(names[_REQUESTS.index(part)], remark, drawn=drawn)
            elif part in _FORMS:
                place, kind = _FORMS[part]
                form = self.act(names[place], kind)
                phrase = (_elided(phrase, form) if self.language == "fr" else phrase) + form
            elif part == "X":
                phrase = phrase + self.unwanted(names)
            else:
                phrase = phrase + part
        return phrase

    def pick(self, *names: str) -> str:
        """An operation that is no near-double of these."""
        found = self.rng.choices(self.among, self.weights)[0]
        return found if not nearly(found, names) else self.pick(*names)

    def goal(self, has_image: bool) -> Goal:
        draw = self.rng.random()
        if draw < 0.08:
            kind = "vague" if has_image or self.rng.random() < 0.4 else "followupNoImage"
            return Goal(self.act("clarify", kind), has_image, (), self.language, kind)
        if has_image and draw < 0.09 and ("clarify", "scene") in self.grammar.sections:
            return Goal(self.act("clarify", "scene"), True, (), self.language, "scene")
        if has_image and draw < 0.11:
            behind = drawn_behind(self.grammar, self.rng, english=False)
            return Goal(behind, True, ("generate", "replace_background"), self.language, "background_chain")
        if not has_image and draw < 0.55:
            return Goal(self.fit(["generate"]), False, ("generate",), self.language, "prompt")
        if not has_image and draw < 0.85:
            names = ["generate"]
            for _ in range(self.rng.choices([1, 2], [0.75, 0.25])[0]):
                names.append(self.pick(*names, "replace_background", "analyze", "vary", "composite", "match_style"))
        else:
            names = [self.pick()]
            for _ in range(self.rng.choices([0, 1, 2, 3], [0.34, 0.37, 0.22, 0.07])[0]):
                names.append(self.pick(*names))
        kind = "foreign" if len(names) == 1 else "foreign_several"
        return Goal(self.fit(names), has_image, tuple(names), self.language, kind)


def _elided(phrase: Phrase, form: Phrase) -> Phrase:
    """The phrase as it stands before the form: "avant d'" before a vowel."""
    if not (phrase.text.endswith(" de ") and form.text[0] in "aeiouéê"):
        return phrase
    return Phrase(phrase.text[:-2], phrase.slots[:-2], phrase.operations[:-2]) + "'"


def _join(grammar: Grammar, names: list[str], rng: random.Random) -> str:
    """A frame for that many requests, all of whose letters the grammar can fill."""
    frames = grammar.sections["join", ("one", "two", "three", "four")[len(names) - 1]]
    while True:
        frame = "".join(text for text, _ in grammar.expand(rng.choice(frames), rng))
        forms = [_FORMS[letter] for letter in _LETTER.findall(frame) if letter in _FORMS]
        if "X" in _LETTER.findall(frame) and names[0] == "generate":
            continue
        if all((names[place], kind) in grammar.sections for place, kind in forms):
            return frame


def worn(phrase: Phrase, rng: random.Random) -> Phrase:
    """The phrase as typed in haste now and then: case, punctuation, slips of the finger."""
    text, slots, operations = phrase.text, list(phrase.slots), list(phrase.operations)
    draw = rng.random()
    if draw < 0.3:
        text = text.lower() if len(text.lower()) == len(text) else text
    elif draw < 0.6 and text:
        text = text[0].upper() + text[1:]
        if rng.random() < 0.5 and text[-1].isalnum():
            text, slots, operations = text + ".", [*slots, None], [*operations, None]
    elif draw < 0.61 and len(text.upper()) == len(text):
        text = text.upper()
    if text.endswith(".") and rng.random() < 0.3:
        text, slots, operations = text[:-1], slots[:-1], operations[:-1]
    slips = sum(rng.random() < 0.5 for _ in range(1 + len(text) // 30)) if rng.random() < 0.12 else 0
    for _ in range(slips):
        at = rng.randrange(max(1, len(text) - 1))
        if len(text) < at + 2 or not text[at : at + 2].isalpha():
            continue
        kind = rng.choice(["swap", "drop", "double", "wrong"])
        if kind == "swap":
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        elif kind == "drop":
            text, slots, operations = (
                text[:at] + text[at + 1 :],
                slots[:at] + slots[at + 1 :],
                operations[:at] + operations[at + 1 :],
            )
        elif kind == "double":
            text = text[:at] + text[at] + text[at:]
            slots.insert(at, slots[at])
            operations.insert(at, operations[at])
        else:
            text = text[:at] + rng.choice(string.ascii_lowercase) + text[at + 1 :]
    return Phrase(text, slots, operations)
