"""Known words put into English order and form: articles, plurals, and what describes a thing before it."""

from collections.abc import Sequence
from dataclasses import replace

from diptych.diffusion.languages.lexicon import Lexicon, Piece

_SINGULAR_ARTICLES = ("das", "dem", "des")  # the German ones that can be nothing else
_SOUNDS_LIKE_Y = ("uf", "uni", "eu")
# Scenes are "on a blue background" in English, whatever a language does without.
_GROUND = "background"


def with_colours(pieces: Sequence[Piece], *, after: bool) -> list[Piece]:
    """What names both a thing and a colour as the colour where it stands with another thing: `after` it, or before."""
    read = list(pieces)
    for at in range(1, len(read)) if after else range(len(read) - 2, -1, -1):
        beside, later = (at - 1, at) if after else (at + 1, at + 1)
        kinds = ("thing", "quality") if after else ("thing",)
        if read[at].quality and read[beside].kind in kinds and not read[later].gap.strip():
            read[at] = replace(read[at], kind="quality", english=read[at].quality)
    return read


def described_before(pieces: Sequence[Piece]) -> list[Piece]:
    """What follows a thing and describes it, before it: "car blue" -> "blue car"."""
    ordered: list[Piece] = []
    at = 0
    while at < len(pieces):
        end = _end_of_qualities(pieces, at + 1) if pieces[at].kind == "thing" else at + 1
        if end == at + 1:
            ordered.append(pieces[at])
        else:
            moved = [*pieces[at + 1 : end], pieces[at]]
            ordered += [replace(moved[0], gap=pieces[at].gap), *(replace(piece, gap=" ") for piece in moved[1:])]
        at = end
    return ordered


def made_of(pieces: Sequence[Piece]) -> list[Piece]:
    """What a thing is of, where that has no article, before it: "ice cream of strawberry" -> "strawberry ice cream"."""
    read: list[Piece] = []
    for piece in pieces:
        match read[-2:]:
            case [Piece("thing") as thing, Piece(english="of") as of] if (
                piece.kind == "thing" and not of.gap.strip() and not piece.gap.strip()
            ):
                words = thing.words + of.words + piece.words
                read[-2:] = [replace(thing, english=f"{piece.english} {thing.english}", words=words)]
            case _:
                read.append(piece)
    return read


def in_english(pieces: Sequence[Piece], lexicon: Lexicon, *, articles: bool) -> str:
    """The pieces as English text. `articles`: things get one where they lack it, as from a language without any."""
    pieces = _with_articles(list(pieces), lexicon, everywhere=articles)
    text = ""
    gap: str | None = None
    for at, piece in enumerate(pieces):
        gap = piece.gap if gap is None else gap  # That of the first piece of those which are left out.
        english = piece.english
        if english == "a":
            english = "an" if _starts_with_vowel(_next_words(pieces, at)) else "a"
        if english:
            text, gap = text + gap + english, None
    return text


def _end_of_qualities(pieces: Sequence[Piece], at: int) -> int:
    """Where the run of qualities ends that begins at `at`; "and" may stand between two."""
    end = at
    while at < len(pieces) and not pieces[at].gap.strip():
        if pieces[at].kind == "quality":
            end = at + 1
        elif pieces[at].english not in ("and", "very"):
            break
        at += 1
    return end


def _with_articles(pieces: list[Piece], lexicon: Lexicon, *, everywhere: bool) -> list[Piece]:
    """The pieces, each thing in its number and with the article that goes with it."""
    done: list[Piece] = []
    for piece in pieces:
        if piece.kind != "thing":
            done.append(piece)
            continue
        first = len(done)
        while first and (done[first - 1].kind == "quality" or _joins_qualities(done, first - 1)):
            first -= 1
        before = done[first - 1] if first else None
        several = _is_several(piece, before)
        english = lexicon.plural(piece.english) if several else piece.english
        is_bare = several or lexicon.is_bare(english)
        if before and before.english == "a" and is_bare:
            done[first - 1] = replace(before, english="")
        phrase = [*done[first:], replace(piece, english=english)]
        if not is_bare and (everywhere or english == _GROUND) and _lacks_article(before):
            phrase = [Piece("particle", "a", (), gap=phrase[0].gap), replace(phrase[0], gap=" "), *phrase[1:]]
        done[first:] = phrase
    return [replace(piece, english=piece.english.removesuffix("+")) for piece in done]


def _joins_qualities(pieces: Sequence[Piece], at: int) -> bool:
    if pieces[at].english == "very":
        return True
    return pieces[at].english == "and" and at > 0 and pieces[at - 1].kind == "quality"


def _is_several(piece: Piece, before: Piece | None) -> bool:
    if before is None:
        return piece.plural
    if before.kind == "number" or before.english in ("+", "the+"):
        return before.english != "a"
    is_one = before.english == "a" or (before.words and before.words[-1].lower() in _SINGULAR_ARTICLES)
    return piece.plural and not is_one


def _lacks_article(before: Piece | None) -> bool:
    if before is None:
        return True
    return before.kind not in ("number", "thing") and before.english not in ("a", "the", "the+", "+")


def _next_words(pieces: Sequence[Piece], at: int) -> str:
    return next((piece.english for piece in pieces[at + 1 :] if piece.english), "")


def _starts_with_vowel(words: str) -> bool:
    return words[:1].lower() in tuple("aeiou") and not words.startswith(_SOUNDS_LIKE_Y)
