# ruff: noqa: RUF001 - the marks of other scripts are meant
"""The order in which operations are wanted, by the words that tell it: "B, but A first", "after A, B", "B once A"."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.orchestrator.intent.clauses import Span, part_weights, parts_of
from services.orchestrator.intent.decoding import Float32Array
from services.orchestrator.intent.features import Int64Array

_WHITE = (
    r"^[\s,;.:(\-–—\"'，。；：（]*(?:(?:and|but|then|only|please|though|yet|so|ok|naturally|obviously|"
    r"of course|ideally|und|aber|nur|erst|natürlich|selbstverständlich|jedoch|allerdings|et|mais|seulement|"
    r"bien sûr|bien entendu|évidemment|naturellement|y|pero|solo|sólo|claro|por supuesto|naturalmente)[\s,]+|并|但|要)*"
)
# "When that is done" names no act; it only says "then".
_THEN = (
    r"(?!\w+(?: as)? (?:(?:that|this|it|all|you)(?:'s| is|'re| are| has been)? (?:all )?)?"
    r"(?:done|ready|finished|through)\b(?! with))"
)
# A subordinate clause that is wanted after the clause it belongs to ...
_BEFORE = re.compile(
    _WHITE + r"(?:right |just |long )?(?:before(?! (?:that|this|doing so|anything|everything)|\W*$)|"
    r"prior to(?! (?:that|this))|ahead of|in advance of|(?:as|in) preparation for|to prepare for|bevor|"
    r"ehe\b|vor dem\b|avant (?:de|d'|que)|antes de(?: que)?(?! eso)|在(?!这之|此之|那之).{1,20}(?:之前|以前))",
    re.IGNORECASE,
)
# ... and one that is wanted before it. ("Wenn" is also "if": with "zu" or another verb it is a condition.)
_AFTER = re.compile(
    _WHITE + r"(?:right |just |immediately |soon |straight )?(?:" + _THEN + r"(?:"
    r"after(?!wards?| that| this| which| it(?! is| has|'s)|,|\W*$)|once(?! (?:more|again)|-)|as soon as|"
    r"when(?:ever)? (?:you|it|that|the|this|done|finished|i))|now that|having |"
    r"upon (?!which|that|this)|following (?!that|this)|"
    r"(?:not|never|nicht|nie) (?:before|until|bevor|ehe|vor de[mr])|(?:pas|jamais) avant (?:de|d'|que)|"
    r"(?:no|nunca) antes de|wait until|nachdem|sobald|nach dem\b|"
    r"wenn\b(?!.*\bzu\b)(?=.*\b(?:ist|bist|sind|hast|habt|haben|wurde)\W*$)|"
    r"après (?:avoir|l|que|\w+er\b|\w+ir\b)|une fois|dès que|"
    r"después de(?! eso| esto| ello| lo cual)|una vez|tras (?!lo cual)|"
    r"cuando (?:hayas|haya|esté|termines)|等)",
    re.IGNORECASE,
)
_AFTER_TAIL = re.compile(r"(?<![这此那])(?:之后|以后|(?<!最)(?<!之)(?<!以)后)[\s，,。]*$")
_BEFORE_TAIL = re.compile(r"(?<!这)(?<!此)(?<!那)(?:之前|以前)[\s，,。]*$")
_FIRST = re.compile(
    r"(?<!\bthe )\bfirst(?:ly)?\b(?! (?:one|picture|photo|image|letter|floor))|"
    r"\b(?:the (?:very )?first (?:thing|step)|as (?:the|a) first)\b|\bto begin with|\bto start\b|\bup front\b|"
    r"\b(?:start|begin)(?:ning|ing)? (?:by|with|off)\b|\bprior to (?:that|this)\b|"
    r"\bbefore (?:that|this|doing so|anything else|everything else|you do)\b|\bbefore(?: it)?\W*$|\bbeforehand\b|"
    r"\b(?:zuerst|zunächst|als erstes|zuallererst|erst(?!\W*$| nach| dann| danach| wenn)|vorher|davor(?!\W*$)|anfangs|"
    r"am anfang)\b|\bd'abord\b|\bcommence[rz]? par\b|"
    r"\bavant (?:ça|cela)\b|\bauparavant\b|\bavant(?=\W*$|,| il faut)|\bmais (?:juste )?avant\b(?! (?:de|d'|que))|"
    r"\bprimero\b|\bempieza (?:por|con)\b|\bantes\b(?! de)|\bantes de eso\b|先(?![别不放等搁])|在[这此那]之前",
    re.IGNORECASE,
)
# "The sky is grey. Fix that first": what was just named, not the act after it.
_FIXED = re.compile(
    r"\b(?:fix|sort|cure|correct|do|solve|repair|mend|handle|deal with|take care of)\s+"
    r"(?:that|this|it|those|these|them|both)\s+(?:out\s+)?first\b",
    re.IGNORECASE,
)
_LAST = re.compile(
    r"\b(?:finally|lastly|ultimately)\b|\b(?:at|in|for) the (?:very )?(?:end|close)\b|"
    r"\b(?:for|till|until) (?:last|later)\b|"
    r"\b(?:as )?(?:the|a|your) (?:very )?(?:last|final) (?:step|thing|touch)\b|"
    r"\b(?:comes?|goes|do(?:ne)?) last\b|\blast of all\b|\bto finish\b|\blast\W*$|"
    r"\b(?:zum schluss|am schluss|zuletzt|am ende|als letztes|schließlich)\b|"
    r"\b(?:enfin|à la fin|pour finir|en dernier)\b|\b(?:por último|al final|finalmente|para terminar)\b|最后",
    re.IGNORECASE,
)
# "Crop it later, but ..." is last where it opens; elsewhere "afterwards" is after what stands before it.
_LATER = re.compile(r"\b(?:later|afterwards?|after)\W*$", re.IGNORECASE)
_UNTIL = re.compile(
    r"\b(?:until|till|before|bis|bevor|ehe|vor de[mr]|avant (?:de|que)|hasta|antes de)\b|\bavant d'", re.IGNORECASE
)
_HELD_BACK = re.compile(
    r"\b(?:don'?t|do not|never|wait|hold|let'?s not|nicht|kein\w*|warte\w*|inutile|jamais|pas|no|nunca|nada)\b|"
    r"别|不要|不急",
    re.IGNORECASE,
)
# "before you crop and sharpen it": what is joined so shares the place of the clause before it.
_JOINED = re.compile(r"^\s*(?:and|und|et|y)\s|^\s*[和并]", re.IGNORECASE)
_OPENS = re.compile(r"^\s*[.;!?。；！？\n]")

# "C as the third step, A as the first": numbers, where every request has one; the last is whatever comes at the end.
_NUMBERS = tuple(
    re.compile(words, re.IGNORECASE)
    for words in (
        r"\b(?:first step|step (?:1|one)|als erstes|das erste:|en premier|en primero|en primer lugar)\b|"
        r"第一步|在前|前面|开场",
        r"\b(?:second step|step (?:2|two)|als zweites|en (?:second|deuxième)|en segundo)\b|第二步|在中间",
        r"\b(?:third step|step (?:3|three)|als drittes|en troisième|en tercero|en tercer lugar)\b|第三步",
        r"\b(?:last step|das letzte:|en dernier|en último lugar)|在后|后面|压轴",
    )
)

_SURE = 6.0  # gap between the order scores of neighbours in an order that the words tell
_LIKELY = 0.15  # presence from which an operation takes part


def scores(
    goal: str, tags: Float32Array, offsets: Int64Array, present: npt.NDArray[np.float64], learned: Float32Array
) -> Float32Array:
    """Order scores (K,), lower for earlier: by the words of the goal where the likely operations stand in parts of
    their own, else the `learned` ones. `tags` (L, K + 1) logits of each token, `present` (K,) probabilities."""
    likely = np.flatnonzero(present > _LIKELY)
    parts = parts_of(goal)
    if len(likely) < 2 or len(parts) < 2:
        return learned
    weights = part_weights(parts, tags, offsets, likely.tolist())
    home = weights.argmax(0)
    ranks = {part: rank for rank, part in enumerate(worded(goal, parts))}
    found = np.array(learned, np.float32)
    certain = [i for i, index in enumerate(likely) if present[index] > 0.5]
    if len({int(home[i]) for i in certain}) < len(certain):
        return learned
    found[likely] = [_SURE * ranks[int(part)] for part in home] + learned[likely] * 1e-3
    return found


def worded(goal: str, spans: Sequence[Span]) -> list[int]:
    """Indices of the spans in the order in which they are wanted. Without a word on it, the order of reading."""
    reading = sorted(range(len(spans)), key=lambda i: (spans[i].start, spans[i].end))
    texts = [goal[spans[i].start : spans[i].end] for i in reading]
    numbers = [next((at for at, words in enumerate(_NUMBERS) if words.search(text)), None) for text in texts]
    if None not in numbers and len(set(numbers)) == len(numbers) > 1:
        return [place for _, place in sorted(zip(numbers, reading, strict=True))]
    units = _units(texts)
    heads, tails = [texts[unit[0]] for unit in units], [texts[unit[-1]] for unit in units]
    order = list(range(len(units)))
    for place, (text, tail) in enumerate(zip(heads, tails, strict=True)):
        partner = _partner(goal, [spans[reading[unit[0]]] for unit in units], place)
        if partner is None:
            continue
        until = _UNTIL.match(text.strip(" ,;")) or _BEFORE_TAIL.search(tail)
        held = until and _HELD_BACK.search(heads[partner])
        if held or _AFTER.search(text) or _AFTER_TAIL.search(tail):
            _move(order, place, partner)
        elif _BEFORE.search(text) or _BEFORE_TAIL.search(tail):
            for moved in (partner, *_rest(heads, partner)) if partner > place else (partner,):
                _move(order, moved, place)
    return [reading[place] for unit in _pushed(order, heads, tails) for place in units[unit]]


def _units(texts: Sequence[str]) -> list[list[int]]:
    """Places of the texts, those that "and" joins together; what tells an order of its own stands alone."""
    units: list[list[int]] = []
    for place, text in enumerate(texts):
        head = text.rstrip(" .,;!)")
        own = _BEFORE.search(text) or _AFTER.search(text) or _FIRST.search(head[:-6]) or _LAST.search(text)
        if units and _JOINED.search(text) and not own:
            units[-1].append(place)
        else:
            units.append([place])
    if len(units) == 1:  # "crop it and sharpen it first"
        return [[place] for place in units[0]]
    return units


def _rest(heads: Sequence[str], place: int) -> list[int]:
    """The clauses after this one in its sentence: "but first crop it, then sharpen it"."""
    ends = (later for later in range(place + 1, len(heads)) if _OPENS.search(heads[later]))
    return list(range(place + 1, next(ends, len(heads))))


def _pushed(order: list[int], heads: Sequence[str], tails: Sequence[str]) -> list[int]:
    """The order with what is said to come first or last put there."""
    lasts = [place for place in order if _LAST.search(heads[place]) or _LAST.search(tails[place])]
    if tails and 0 not in lasts and _LATER.search(tails[0]):
        lasts.insert(0, 0)
    firsts = [place for place in order if place not in lasts and (_first(heads[place]) or _first(tails[place]))]
    if len(firsts) > 1:  # "first A, then B. First ...": said of more than one it tells nothing
        firsts = []
    if firsts and firsts[0] > 0:
        firsts += [place for place in _rest(heads, firsts[0]) if place not in lasts]
    return [*firsts, *(place for place in order if place not in firsts and place not in lasts), *lasts]


def _first(text: str) -> bool:
    return _FIRST.search(_FIXED.sub("", text)) is not None


def _partner(goal: str, spans: Sequence[Span], place: int) -> int | None:
    """The clause that a subordinate clause belongs to: the next where it opens its sentence, else the one before."""
    opens = place == 0 or re.search(r"[.!?;。！？]\s*$", goal[: spans[place].start].rstrip(" ") or ".") is not None
    partner = place + 1 if opens else place - 1
    return partner if 0 <= partner < len(spans) else None


def _move(order: list[int], earlier: int, later: int) -> None:
    """Puts `earlier` right before `later`, unless it is before it already."""
    if order.index(earlier) > order.index(later):
        order.remove(earlier)
        order.insert(order.index(later), earlier)
