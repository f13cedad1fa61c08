"""Chinese prompts cut into words, which are written without spaces, and put into English order."""

import re
from collections.abc import Sequence
from dataclasses import replace

from diptych.diffusion.languages.lexicon import Piece, Tongue

HAN = re.compile(r"[\u3400-\u9fff]")
# Kana and Hangul: Han characters beside these are not Chinese.
OTHER_SCRIPTS = re.compile(r"[\u3040-\u30ff\uac00-\ud7af]")
_RUN = re.compile(r"[\u3400-\u9fff]+|[0-9]+|[A-Za-z]+(?:['-][A-Za-z]+)*")
_LONGEST_WORD = 8
_MEASURES = frozenset("枚只个條条张辆朵棵颗把件座艘架幅头匹位片块杯顶双台本支枝根瓶碗串轮道间栋盏面名")
_OF, _AT = "的", "在"  # joins what describes to a thing; opens a place
_SCENES = ("at ", "in the ", "in a ", "on the ", "under the ")
_PLACES = ("on", "in", "under", "in front of", "behind", "next to")


def cut(text: str, tongue: Tongue) -> tuple[list[Piece], str]:
    """The text as pieces, the longest known word first, and what stands after the last one."""
    pieces: list[Piece] = []
    end = 0
    for run in _RUN.finditer(text):
        cuts = _words(run.group(), tongue) if HAN.match(run.group()) else [_foreign(run.group())]
        for number, piece in enumerate(cuts):
            gap = text[end : run.start()] if number == 0 else " "
            pieces.append(replace(piece, gap=gap or (" " if pieces else "")))
        end = run.end()
    return _without_measures(pieces), text[end:]


def in_order(pieces: Sequence[Piece]) -> list[Piece]:
    """English order, clause by clause."""
    ordered: list[Piece] = []
    clause: list[Piece] = []
    for piece in pieces:
        if piece.gap.strip() and clause:
            ordered += _clause(clause)
            clause = []
        clause.append(piece)
    return ordered + (_clause(clause) if clause else [])


def _clause(pieces: Sequence[Piece]) -> list[Piece]:
    ordered = [piece for piece in _placed(_wearing(_scene_last(pieces))) if piece.words not in ((_OF,), (_AT,))]
    return [replace(piece, gap=" " if number else pieces[0].gap) for number, piece in enumerate(ordered)]


def _scene_last(pieces: Sequence[Piece]) -> list[Piece]:
    """ "At night" and the like stand first in Chinese: "夜晚的房子" is a house at night."""
    first, *rest = pieces
    return [*rest, first] if rest and first.kind == "particle" and first.english.startswith(_SCENES) else [first, *rest]


def _wearing(pieces: Sequence[Piece]) -> list[Piece]:
    """What someone wears or has follows them in English: "戴帽子的猫" is a cat wearing a hat."""
    begin = next((at for at, piece in enumerate(pieces) if piece.english in ("with", "wearing")), len(pieces))
    if any(piece.kind not in ("number", "quality") for piece in pieces[:begin]):
        return list(pieces)
    end = next((at for at, piece in enumerate(pieces) if at > begin and piece.words == (_OF,)), len(pieces))
    return [*pieces[:begin], *pieces[end + 1 :], *pieces[begin:end]]


def _placed(pieces: Sequence[Piece]) -> list[Piece]:
    """What is somewhere comes before where it is: "桌子上的猫" and "猫在桌子上" are a cat on a table."""
    begin = next((at for at, piece in enumerate(pieces) if piece.words == (_AT,)), None)
    place = next(
        (
            at
            for at, piece in enumerate(pieces)
            if piece.english in _PLACES and at and _closes_a_place(pieces, at, begin)
        ),
        None,
    )
    if place is None:
        return list(pieces)
    where = [pieces[place], *pieces[(0 if begin is None else begin + 1) : place]]
    return [*(() if begin is None else pieces[:begin]), *pieces[place + 1 :], *where]


def _closes_a_place(pieces: Sequence[Piece], at: int, begin: int | None) -> bool:
    """Whether "on" or "in" is said of what stands before it: it means other things as well."""
    if pieces[at - 1].kind == "thing" or (begin is not None and begin < at - 1):
        return True
    return pieces[at - 1].kind == "unknown" and pieces[at + 1 : at + 2] != [] and pieces[at + 1].words == (_OF,)


def _words(run: str, tongue: Tongue) -> list[Piece]:
    pieces: list[Piece] = []
    at, unknown = 0, ""
    while at < len(run):
        known = next(
            (run[at : at + size] for size in range(_LONGEST_WORD, 0, -1) if _is_word(run[at : at + size], tongue)), ""
        )
        if known or run[at] in (_OF, _AT) or _is_measure(run, at, pieces, unknown):
            if unknown:
                pieces.append(_foreign(unknown))
            unknown = ""
            word = known or run[at]
            entry = tongue.entries.get(word)
            kind, english = (entry.kind, entry.english) if entry else ("particle", "")
            pieces.append(Piece(kind, english, (word,), gap=" "))
            at += len(word)
        else:
            unknown += run[at]
            at += 1
    return [*pieces, _foreign(unknown)] if unknown else pieces


def _is_word(word: str, tongue: Tongue) -> bool:
    return word in tongue.entries


def _is_measure(run: str, at: int, pieces: Sequence[Piece], unknown: str) -> bool:
    before = pieces[-1].kind == "number" if pieces else at == 0
    return run[at] in _MEASURES and not unknown and before


def _foreign(word: str) -> Piece:
    return Piece("number" if word.isdigit() else "unknown", word, (word,), gap=" ")


def _without_measures(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces without the measure words that follow numbers."""
    return [
        piece
        for before, piece in zip((None, *pieces), pieces, strict=False)
        if not (before and before.kind == "number" and not piece.english and piece.words[0] in _MEASURES)
    ]
