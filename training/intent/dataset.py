"""The training goals: a fixed mixture of kinds and languages, written from the phrase files with a fixed seed."""

import random
import re
import string
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from training.intent.goals import CONDITIONAL, GENERATOR, OPERATIONS, Goal, Writer, gibberish
from training.intent.grammar import Grammar, Phrase, load

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
]
LANGUAGES = ("de", "fr", "es", "zh")

# kind, share, has an image. Shares need not add up to one.
MIXTURE = (
    ("single", 0.22, True),
    ("several", 0.30, True),
    ("remarks", 0.05, True),
    ("denied", 0.05, True),
    ("vary_chain", 0.025, True),
    ("animate_chain", 0.025, True),
    ("generate_with_image", 0.03, True),
    ("background_chain", 0.01, True),
    ("vague", 0.035, True),
    ("gibberish", 0.006, True),
    ("outofscope", 0.012, True),
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
    ("foreign", 0.22, True),
    ("foreign", 0.05, False),
)


def goals(count: int, seed: int | str) -> Iterator[Goal]:
    """`count` distinct goals."""
    files = {"en": ENGLISH, "frames": ["words", "scenes", "frames", "frames_plain", "frames_steps"]}
    grammars = load(PHRASES, files | {k: [k, f"{k}_plain", f"{k}_steps"] for k in LANGUAGES})
    rng = random.Random(f"goals {seed}")
    writer = Writer(grammars["en"], grammars["frames"], rng)
    kinds, weights = [(k, image) for k, _, image in MIXTURE], [share for _, share, _ in MIXTURE]
    seen: set[tuple[str, bool]] = set()
    while len(seen) < count:
        kind, has_image = rng.choices(kinds, weights)[0]
        if kind == "foreign":
            language = rng.choice(LANGUAGES)
            goal = _foreign(grammars[language], language, has_image, rng)
        else:
            goal = _english(writer, kind, has_image, rng)
        goal = replace(goal, phrase=worn(goal.phrase, rng))
        key = (goal.phrase.text.lower(), goal.has_image)
        if goal.phrase.text.strip() and key not in seen:
            seen.add(key)
            yield goal


def _english(writer: Writer, kind: str, has_image: bool, rng: random.Random) -> Goal:
    operations: tuple[str, ...] = ()
    phrase: Phrase | None
    if kind == "single":
        operations = (writer.pick(),)
        phrase = writer.single(operations[0], fragments=has_image)
    elif kind in ("several", "remarks", "denied"):
        phrase, operations = writer.several(fragments=has_image) if kind == "several" else getattr(writer, kind)()
    elif kind in ("vary_chain", "animate_chain", "generate_chain"):
        phrase, operations = writer.chain(kind.split("_")[0])
    elif kind == "background_chain":
        nodes = rng.choice(writer.frames.sections["chain", "background"])
        operations = ("generate", "replace_background")
        phrase = Phrase.of(writer.frames.expand(nodes, rng), "generate")
        cut = phrase.text.rfind(" and ")
        phrase.operations[:] = [
            "generate" if (at < cut or (cut < 0 and slot)) else "replace_background"
            for at, slot in enumerate(phrase.slots)
        ]
    # Without an image a mere noun phrase is a description of what to generate: hence no fragments above.
    elif kind == "video":
        phrase, operations = writer.say("video", "do"), ("generate", "animate")
        assert phrase is not None
        phrase.operations[:] = ["generate" if slot == "prompt" else "animate" for slot in phrase.slots]
    elif kind == "gibberish":
        phrase = Phrase.plain(gibberish(rng))
    elif kind in ("vague", "outofscope", "followupNoImage"):
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


# The letters of a foreign join: whole requests; acts as a noun or infinitive; what is done; what stands after "before".
_REQUESTS, _FORMS = "ABCF", {"M": (0, "ing"), "N": (1, "ing"), "D": (0, "done"), "V": (1, "sub")}
_LETTER = re.compile(r"(?<![A-Za-z])([ABCFMNDV])(?![A-Za-z])")


def _foreign(grammar: Grammar, language: str, has_image: bool, rng: random.Random) -> Goal:
    def act(name: str, kind: str = "do") -> Phrase:
        nodes = rng.choice(grammar.sections[name, kind])
        return Phrase.of(grammar.expand(nodes, rng), None if name == "clarify" else name)

    def request(name: str) -> Phrase:
        return act(name, "if" if (name, "if") in grammar.sections and rng.random() < CONDITIONAL else "do")

    def fit(names: list[str]) -> Phrase:
        frame = _join(grammar, names, rng)
        phrase = Phrase.plain("")
        for part in _LETTER.split(frame):
            if part and part in _REQUESTS:
                phrase = phrase + request(names[_REQUESTS.index(part)])
            elif part in _FORMS:
                place, kind = _FORMS[part]
                phrase = phrase + act(names[place], kind)
            else:
                phrase = phrase + part
        return phrase

    draw = rng.random()
    if draw < 0.12:
        kind = "vague" if has_image or rng.random() < 0.4 else "followupNoImage"
        return Goal(act("clarify", kind), has_image, (), language, kind)
    if not has_image and draw < 0.6:
        return Goal(fit(["generate"]), False, ("generate",), language, "prompt")
    among = [n for n in OPERATIONS if n not in ("generate", "composite", "match_style")]
    names = [rng.choice(among)]
    more = [n for n in among if n not in (*GENERATOR, "replace_background", "analyze")]
    if not has_image and draw < 0.8:
        names = ["generate", rng.choice(more)]
    elif rng.random() < 0.6:
        names += [rng.choice([n for n in among if n != names[0]])]
        for chance in (0.3, 0.25):
            if len(names) > 1 and rng.random() < chance:
                names += [rng.choice([n for n in more if n not in names])]
    if {"remove_background", "replace_background"} <= set(names):
        names.remove("remove_background")
    kind = "foreign" if len(names) == 1 else "foreign_several"
    return Goal(fit(names), has_image, tuple(names), language, kind)


def _join(grammar: Grammar, names: list[str], rng: random.Random) -> str:
    """A frame for that many requests, all of whose letters the grammar can fill."""
    frames = grammar.sections["join", ("one", "two", "three", "four")[len(names) - 1]]
    while True:
        frame = "".join(text for text, _ in grammar.expand(rng.choice(frames), rng))
        forms = [_FORMS[letter] for letter in _LETTER.findall(frame) if letter in _FORMS]
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
