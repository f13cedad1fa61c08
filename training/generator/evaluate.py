"""Measures an exported model with the judge and by program, and writes down what was seen.

    python -m training.generator.evaluate                          # the model as its manifest says
    python -m training.generator.evaluate --run 20:4.5 --run 4:1   # several steps and guidance scales compared

Needs the art of prepare.py and the judge of judge.py. Writes evaluation.json and EVALUATION.md beside the weights, and
three sheets to docs/gallery: a grid of the committed prompts, the worst concepts, and the nearest training drawings.
The sheets show the first run. Every list is fixed and a picture's seed is its place in the list: nothing is chosen by
eye.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diptych.repository.repository import ModelRepository
from training.generator import composition, measures, sheets
from training.generator.captions import article
from training.generator.evaluation_report import write_prompts, write_report
from training.generator.judge import Judge, ranks_of
from training.generator.prepare import HERE, read_config
from training.generator.references import References, coarse
from training.generator.sampling import Sampler

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

COLUMNS = 12


@dataclass(frozen=True)
class Run:
    """How pictures are made: from which folder, in how many steps, with what guidance scale."""

    steps: int
    guidance: float
    folder: Path

    @classmethod
    def read(cls, text: str, folder: Path) -> Run:
        """A run from STEPS:GUIDANCE or STEPS:GUIDANCE:FOLDER."""
        steps, guidance, *other = text.split(":", 2)
        return cls(int(steps), float(guidance), Path(other[0]) if other else folder)

    @classmethod
    def default(cls, folder: Path) -> Run:
        """The run that the manifest of the folder describes."""
        defaults = tomllib.loads((folder / "manifest.toml").read_text())["defaults"]
        return cls(defaults["num_inference_steps"], defaults["guidance_scale"], folder)


class Artist:
    """Draws sentences as a run says; the seed of a picture is its place in the list."""

    def __init__(self, run: Run, threads: int) -> None:
        encoder = ModelRepository().open("minilm")
        self.run = run
        self.sampler = Sampler(run.folder, encoder.path("model.onnx"), encoder.path("tokenizer.json"), threads)
        self.pictures, self.seconds = 0, 0.0

    def __call__(self, sentences: Sequence[str]) -> Pixels:
        """(N, 256, 256, 3)."""
        began = time.perf_counter()
        made = self.sampler(sentences, range(len(sentences)), steps=self.run.steps, guidance=self.run.guidance)
        self.pictures, self.seconds = self.pictures + len(made), self.seconds + time.perf_counter() - began
        return made


def describe(folder: Path) -> dict[str, str]:
    """Which weights were measured: name, version and the digest of the denoiser."""
    manifest = tomllib.loads((folder / "manifest.toml").read_text())
    digest = hashlib.sha256((folder / "unet/model.onnx").read_bytes()).hexdigest()
    return {"name": manifest["name"], "version": manifest["version"], "denoiser_sha256": digest}


def scores(ranks: NDArray[np.int64], nouns: Sequence[str]) -> dict[str, Any]:
    """Top-1 and top-5 as means over concepts of the means over their pictures, with the standard errors."""
    each: dict[str, list[int]] = {}
    for noun, rank in zip(nouns, ranks, strict=True):
        each.setdefault(noun, []).append(int(rank))
    result: dict[str, Any] = {"concepts": len(each), "pictures": len(ranks)}
    for name, last in (("top1", 1), ("top5", 5)):
        parts = [np.mean(np.asarray(own) < last) for own in each.values()]
        result[name] = round(float(np.mean(parts)), 4)
        result[f"{name}_error"] = round(float(np.std(parts) / len(parts) ** 0.5), 4)
    return result


def ceiling(references: References, judge: Judge, chosen: Sequence[int]) -> tuple[dict[str, Any], Floats]:
    """(the judge's scores on real art of the generator's vendors, its features of that art)."""
    pictures = np.stack([references.picture(number) for number in chosen])
    probabilities, features = judge.look(pictures)
    nouns = [references.nouns[number] for number in chosen]
    ranks = ranks_of(probabilities, judge.nouns, nouns)
    vendors = np.asarray([references.vendors[number] for number in chosen])
    names = [pack["package"] for pack in read_config()["data"]["packs"]]
    by_vendor = {
        names[vendor]: scores(ranks[vendors == vendor], [n for n, v in zip(nouns, vendors, strict=True) if v == vendor])
        for vendor in sorted(set(vendors.tolist()))
    }
    return scores(ranks, nouns) | {"by_vendor": by_vendor}, features


def ordered(ranks: NDArray[np.int64], own: Floats, nouns: Sequence[str]) -> list[dict[str, Any]]:
    """The concepts from the best judged to the worst: by part in the top 5, then by the judge's belief in the noun."""
    each: dict[str, list[int]] = {}
    for number, noun in enumerate(nouns):
        each.setdefault(noun, []).append(number)
    rows = [
        {
            "noun": noun,
            "top1": float(np.mean(ranks[places] == 0)),
            "top5": float(np.mean(ranks[places] < 5)),
            "belief": round(float(own[places].mean()), 4),
        }
        for noun, places in each.items()
    ]
    return sorted(rows, key=lambda row: (-row["top5"], -row["top1"], -row["belief"]))


@dataclass(frozen=True)
class Concepts:
    """The pictures of "a {noun}" for every concept and what the judge says of them."""

    nouns: list[str]
    pictures: Pixels
    probabilities: Floats
    features: Floats

    @classmethod
    def draw(cls, artist: Artist, judge: Judge, nouns: Sequence[str], seeds: int) -> Concepts:
        """So many pictures of each noun."""
        asked = composition.repeated(nouns, seeds)
        pictures = artist([article(noun) for noun in asked])
        return cls(asked, pictures, *judge.look(pictures))

    def said(self, judge: Judge, number: int) -> str:
        """The judge's first answer for a picture."""
        return judge.nouns[int(self.probabilities[number].argmax())]


def resemblance(pictures: Pixels, references: References) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """(distances to the nearest training drawing, the eight nearest pairs as (picture, variant of a drawing)).

    Set beside them: how far the vendors' own drawings are from the nearest one of another vendor.
    """
    variants, owners = references.variants()
    places, distances = measures.nearest(coarse(pictures), variants)
    native = np.asarray([variant["native"] for variant in references.index["variants"]])
    vendors = np.asarray(references.vendors)[owners]
    between = []
    for vendor in sorted(set(references.vendors)):
        own, others = variants[native & (vendors == vendor)], variants[native & (vendors != vendor)]
        between.append(measures.nearest(own[::3], others)[1])
    order = np.argsort(distances)[:8]
    result = {
        "median": round(float(np.median(distances)), 1),
        "least": round(float(distances.min()), 1),
        "vendors_median": round(float(np.median(np.concatenate(between))), 1),
        "vendors_least": round(float(np.concatenate(between).min()), 1),
    }
    return result, [(int(number), int(places[number])) for number in order]


def measure(
    artist: Artist, judge: Judge, nouns: Sequence[str], questions: dict[str, Any], seeds: int
) -> tuple[dict[str, Any], Concepts]:
    """Everything that is asked of one run but the comparison with real art."""
    concepts = Concepts.draw(artist, judge, nouns, seeds)
    ranks = ranks_of(concepts.probabilities, judge.nouns, concepts.nouns)
    places = [judge.nouns.index(noun) for noun in concepts.nouns]
    own = concepts.probabilities[np.arange(len(places)), places]
    colours, held = questions["colours"], read_config()["data"]["held_out"]
    shown = [f"{word} {thing}" for thing in colours["things"] for word in colours["words"]]
    return {
        "concepts": scores(ranks, concepts.nouns),
        "by_concept": ordered(ranks, own, concepts.nouns),
        "unevenness": round(float(np.mean([measures.unevenness(picture) for picture in concepts.pictures])), 2),
        "white_ground": composition.part([measures.ground_word(picture) == "white" for picture in concepts.pictures]),
        "colours_shown": composition.colours(artist, shown, seeds),
        "colours_held_out": composition.colours(artist, held, seeds * 2),
        "backgrounds": composition.backgrounds(artist, judge, questions["backgrounds"], 1),
        "pairs": composition.pairs(artist, judge, questions["pairs"]["asked"], seeds),
        "counts": composition.counts(artist, questions["counts"], seeds),
        "scenes": composition.scenes(artist, judge, questions["scenes"], 1),
    }, concepts


def quick(questions: dict[str, Any]) -> dict[str, Any]:
    """A sample of the questions, for a look in a minute."""
    short = {key: dict(table) for key, table in questions.items()}
    for table in short.values():
        for key in ("things", "asked"):
            if isinstance(table.get(key), list):
                table[key] = table[key][:4]
    short["colours"]["things"] = short["colours"]["things"][:2]
    short["counts"]["things"] = dict(list(short["counts"]["things"].items())[:2])
    return short


def draw_sheets(
    concepts: Concepts, judge: Judge, result: dict[str, Any], references: References, gallery: Path
) -> None:
    """Writes the sheets of the worst concepts and of the nearest training drawings."""
    worst = [row["noun"] for row in result["by_concept"][:-13:-1]]
    failures = []
    for noun in worst:
        own = [number for number, other in enumerate(concepts.nouns) if other == noun]
        words = [article(noun), "judged: " + ", ".join(concepts.said(judge, number) for number in own)]
        failures.append(([concepts.pictures[number] for number in own], words))
    sheets.save(sheets.captioned(failures, 4, 112), gallery / "generator-failures.png")
    result["resemblance"], near = resemblance(concepts.pictures, references)
    pairs = [
        (
            [concepts.pictures[number], references.painted(variant)],
            [article(concepts.nouns[number]), "drawn | nearest in training"],
        )
        for number, variant in near
    ]
    sheets.save(sheets.captioned(pairs, 4, 112), gallery / "generator-nearest.png")


def main() -> None:
    """Measures, and writes the figures, the report and the sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/diptych-icons"))
    parser.add_argument("--run", action="append", default=[], help="STEPS:GUIDANCE or STEPS:GUIDANCE:FOLDER")
    parser.add_argument("--work", type=Path, default=Path(".build/generator"), help="where prepare.py wrote")
    parser.add_argument("--judge", type=Path, default=Path(".build/judge"), help="where judge.py wrote")
    parser.add_argument(
        "--output", type=Path, default=None, help="for figures and report; the model's folder if absent"
    )
    parser.add_argument("--gallery", type=Path, default=Path("docs/gallery"))
    parser.add_argument("--seeds", type=int, default=2, help="pictures of each concept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a fifth of the concepts, one seed, fewer questions")
    options = parser.parse_args()
    runs = [Run.read(text, options.model) for text in options.run] or [Run.default(options.model)]
    for path, module in ((options.judge / "judge.npz", "judge"), (options.work / "drawings.npy", "prepare")):
        if not path.exists():
            parser.error(f"{path} is missing: run python -m training.generator.{module} first")
    torch.set_num_threads(options.threads)
    judge = Judge(options.judge)
    references = References.read(options.work, read_config()["data"]["canvas"])
    questions = tomllib.loads((HERE / "questions.toml").read_text())
    learnt = sorted(set(references.nouns))
    nouns = [noun for noun in learnt if noun in judge.nouns]
    seeds = options.seeds
    if options.quick:
        nouns, questions, seeds = nouns[::5], quick(questions), 1
    chosen = [number for number, noun in enumerate(references.nouns) if noun in set(nouns)]
    real, features = ceiling(references, judge, chosen)
    report: dict[str, Any] = {
        "model": describe(options.model),
        "judge": judge.about | {"classes": len(judge.nouns), "not_judged": sorted(set(learnt) - set(judge.nouns))},
        "seeds": seeds,
        "ceiling": real,
        "ceiling_together": composition.real_together(references, judge, questions, seeds),
        "frechet_of_real_halves": round(measures.frechet(features[::2], features[1::2]), 2),
        "runs": [],
    }
    for place, run in enumerate(runs):
        artist = Artist(run, options.threads)
        result, concepts = measure(artist, judge, nouns, questions, seeds)
        result["ratio"] = {key: round(result["concepts"][key] / real[key], 3) for key in ("top1", "top5")}
        result["frechet"] = round(measures.frechet(concepts.features, features), 2)
        if place == 0:
            draw_sheets(concepts, judge, result, references, options.gallery)
            prompts = (HERE / "prompts.txt").read_text().splitlines()
            sheets.save(sheets.grid(artist(prompts), COLUMNS, 128), options.gallery / "generator.png")
            write_prompts(prompts, COLUMNS, run.steps, run.guidance, options.gallery / "generator.md")
        how = {"steps": run.steps, "guidance": run.guidance, "folder": run.folder.name}
        speed = {"pictures": artist.pictures, "seconds_per_picture": round(artist.seconds / artist.pictures, 3)}
        report["runs"].append(how | speed | result)
    output: Path = options.output or options.model
    output.mkdir(parents=True, exist_ok=True)
    (output / "evaluation.json").write_text(json.dumps(report, indent=1) + "\n")
    write_report(report, output / "EVALUATION.md")


if __name__ == "__main__":
    main()
