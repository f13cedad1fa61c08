"""How well an exported model reads other languages: prints what its lexicon makes of prompts, names and English.

    python -m training.generator.languages --model models/diptych-icons [--sheet languages.png]

Three counts: the prompts of tongues/prompts.txt that are read word for word as the English one (equal words draw equal
bytes); the names that Unicode's CLDR gives emoji, by other translators, which are read as the concept that the emoji
shows (package emojibase-data, fetched by npm); and the English phrases that do not come out as they went in.
With `--sheet` the first prompts are drawn in five languages, on the left without the lexicon, on the right with it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from diptych.diffusion.languages.lexicon import Lexicon
from diptych.diffusion.languages.translation import Translator, words_of
from training.generator.make_lexicon import LANGUAGES, LISTS, read_rows
from training.generator.prepare import HERE
from training.generator.sampling import Sampler, find
from training.generator.sheets import grid, save

NAMES = ("emojibase-data", "17.0.0")
ARTICLES = {"de": "ein ", "fr": "un ", "es": "un ", "zh": "一个"}
DRAWN, SIZE = 12, 96


def english_phrases(folder: Path) -> list[str]:
    """The English phrases of goals that the intent model is trained on, sorted."""
    phrases: set[str] = set()
    for path in folder.glob("en_*.txt"):
        phrases.update(re.split(r"[|()\[\]<>={}\n]", path.read_text(encoding="utf-8")))
    return sorted(phrases)


def emoji(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """For English and each language its emoji by code point."""
    package, version = NAMES
    archive = folder / f"{package}-{version}.tgz"
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], cwd=folder, check=True)
    found = {}
    with tarfile.open(archive) as tar:
        for language in ("en", *LANGUAGES):
            member = tar.extractfile(f"package/{language}/compact.json")
            assert member is not None
            found[language] = {one["hexcode"]: one for one in json.load(member)}
    return found


def concepts() -> dict[str, list[str]]:
    """Each concept's noun and the other words for it."""
    found = {}
    for line in (HERE / "concepts.txt").read_text(encoding="utf-8").splitlines():
        noun, separator, rest = line.partition(" = ")
        if separator and not line.startswith("#"):
            noun = noun.partition("*")[0]
            others = rest.partition("|")[2].split(",")
            found[noun] = [noun, *(other.strip() for other in others if other.strip())]
    return found


def named(translator: Translator, lexicon: Lexicon, folder: Path) -> dict[str, tuple[int, int]]:
    """For each language how many CLDR names are read as their concept, and how many there are.

    A name counts when its English holds all words of the concept's noun or of another word for it.
    """
    names = emoji(folder)
    codes = {one["label"].lower(): code for code, one in names["en"].items()}
    counts = {}
    for language in LANGUAGES:
        right = asked = 0
        for words in concepts().values():
            code = next((codes[word] for word in words if word in codes), None)
            if code is None:
                continue
            asked += 1
            read = set(words_of(translator.read(ARTICLES[language] + names[language][code]["label"])))
            right += any(set(words_of(form)) <= read for word in words for form in (word, lexicon.plural(word)))
        counts[language] = (right, asked)
    return counts


def main() -> None:
    """Prints the counts and what was read otherwise; draws the sheet where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/diptych-icons"))
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--encoder", type=Path, help="needed for the sheet")
    parser.add_argument("--tokenizer", type=Path, help="needed for the sheet")
    options = parser.parse_args()
    lexicon = Lexicon.load(find(options.model, "lexicon.json"))
    translator = Translator(lexicon)
    rows = [(english, [column[0] for column in columns]) for english, columns in read_rows(LISTS / "prompts.txt")]
    for number, language in enumerate(LANGUAGES):
        wrong = {row[1][number]: read for row in rows if (read := translator.read(row[1][number])) != row[0]}
        print(f"{language}: {len(rows) - len(wrong)} of {len(rows)} prompts read as the English one; others: {wrong}")
    for language, (right, asked) in named(translator, lexicon, options.work / "packs").items():
        print(f"{language}: {right} of {asked} names by CLDR read as the concept")
    phrases = english_phrases(HERE.parent / "intent/phrases")
    print(f"English changed: {[one for one in phrases if translator.read(one) != one]} of {len(phrases)}")
    if options.sheet:
        draw = Sampler(options.model, options.encoder, options.tokenizer, threads=2)
        prompts = [[english, *words] for english, words in rows[:DRAWN]]
        seeds = [seed for seed in range(DRAWN) for _ in prompts[0]]
        given = [words for row in prompts for words in row]
        pictures = [
            draw(words, seeds, steps=16, guidance=3.5) for words in (given, [translator.read(words) for words in given])
        ]
        save(
            grid(
                [picture for one in range(0, len(given), 5) for half in pictures for picture in half[one : one + 5]],
                10,
                SIZE,
            ),
            options.sheet,
        )


if __name__ == "__main__":
    main()
