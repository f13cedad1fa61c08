"""How runs are read, scores are averaged, and what is written down of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.generator import sheets
from training.generator.composition import judge_counts, part, parted, windows
from training.generator.evaluate import Run, ordered, quick, scores
from training.generator.evaluation_report import write_prompts, write_report
from training.generator.references import coarse, on_white


def test_a_run_is_read_with_and_without_a_folder() -> None:
    assert Run.read("20:4.5", Path("a")) == Run(20, 4.5, Path("a"))
    assert Run.read("4:1:models/student", Path("a")) == Run(4, 1.0, Path("models/student"))


def test_every_concept_counts_the_same_however_many_pictures_it_has() -> None:
    result = scores(np.asarray([0, 0, 0, 9]), ["cat", "cat", "cat", "dog"])
    assert (result["top1"], result["top5"], result["concepts"], result["pictures"]) == (0.5, 0.5, 2, 4)
    assert result["top1_error"] == pytest.approx(0.5 / 2**0.5, abs=1e-4)


def test_concepts_are_ordered_from_best_to_worst() -> None:
    ranks, belief = np.asarray([3, 8, 0, 7]), np.asarray([0.2, 0.02, 0.9, 0.01], np.float32)
    rows = ordered(ranks, belief, ["owl", "bee", "sun", "fox"])
    assert [row["noun"] for row in rows] == ["sun", "owl", "bee", "fox"]


def test_a_phrase_is_parted_into_colour_and_noun() -> None:
    assert [parted("red apple"), parted("blue race car")] == [("red", "apple"), ("blue", "race car")]
    assert [parted("cat"), parted("orange"), parted("race car")] == [("", "cat"), ("", "orange"), ("", "race car")]


def test_windows_lie_inside_and_the_first_in_the_middle() -> None:
    picture = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3)
    made = windows(picture)
    assert made.shape == (5, 48, 48, 3)
    assert np.array_equal(made[0], picture[8:56, 8:56])


def test_counts_are_judged_by_number() -> None:
    picture = np.full((256, 256, 3), 255, np.uint8)
    picture[40:100, 40:100] = (200, 20, 20)
    two = picture.copy()
    two[150:220, 150:220] = (20, 20, 200)
    result = judge_counts([two, picture, two], [2, 3, 3])
    assert (result["right"], result["of"]) == (1, 3)
    assert result["by number"] == {"2": part([True]), "3": part([False, False])}


def test_art_is_laid_on_white_and_averaged() -> None:
    drawing = np.zeros((64, 64, 4), np.uint8)
    drawing[:, 32:] = (10, 20, 30, 255)
    laid = on_white(drawing)
    assert laid[0, 0].tolist() == [255, 255, 255] and laid[0, 63].tolist() == [10, 20, 30]
    cells = coarse(laid[None]).reshape(32, 32, 3)
    assert cells[0, 0, 0] == 255 and cells[31, 31].tolist() == [10, 20, 30]


def test_sheets_hold_every_picture_in_reading_order(tmp_path: Path) -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250)]
    pictures = [np.full((16, 16, 3), colour, np.uint8) for colour in colours]
    sheet = sheets.grid(pictures, 3, 16)
    assert sheet.size == (48, 32)
    assert [sheet.getpixel((16 * (i % 3) + 8, 16 * (i // 3) + 8)) for i in range(5)] == colours
    words = sheets.captioned([(pictures[:2], ["two", "lines"]), (pictures[2:4], ["of", "words"])], 2, 40)
    sheets.save(words, tmp_path / "deep" / "sheet.png")
    assert (tmp_path / "deep" / "sheet.png").stat().st_size > 100


def test_quick_questions_are_fewer() -> None:
    asked = {
        "colours": {"words": ["red"], "things": ["a", "b", "c"]},
        "pairs": {"asked": [["a", "b"]] * 9},
        "counts": {"numbers": {"two": 2}, "things": {"a": "as", "b": "bs", "c": "cs"}},
    }
    short = quick(asked)
    assert [len(short["colours"]["things"]), len(short["pairs"]["asked"]), len(short["counts"]["things"])] == [2, 4, 2]
    assert len(asked["pairs"]["asked"]) == 9


@pytest.fixture
def report() -> dict[str, object]:
    good = part([True, False])
    pairs = {"both as placed": good, "both either way": good, "one at least": good, "colours": None}
    run = {
        "steps": 4,
        "guidance": 1.0,
        "folder": "student",
        "seconds_per_picture": 0.123,
        "concepts": {"top1": 0.25, "top1_error": 0.1, "top5": 0.5, "top5_error": 0.2, "concepts": 2, "pictures": 4},
        "by_concept": [{"noun": "sun"}, {"noun": "fox"}],
        "ratio": {"top1": 0.4, "top5": 0.62},
        "frechet": 12.5,
        "unevenness": 0.4,
        "white_ground": good,
        "colours_shown": good | {"wrong": []},
        "colours_held_out": good | {"wrong": ["blue cat: grey"]},
        "backgrounds": {"ground": good, "thing in top 5": good},
        "pairs": pairs,
        "counts": good | {"by number": {"2": good}},
        "scenes": {"ground": good, "by scene": {"at night": good}, "thing in top 5": good},
        "resemblance": {"median": 40.0, "least": 20.5, "vendors_median": 60.0, "vendors_least": 10.0},
    }
    real = {
        "top1": 0.6,
        "top1_error": 0.02,
        "top5": 0.8,
        "top5_error": 0.01,
        "by_vendor": {"@iconify-json/noto": {"top1": 0.5, "top5": 0.7, "pictures": 3}},
    }
    return {
        "model": {"name": "icons", "version": "1", "denoiser_sha256": "abcdef" * 10},
        "judge": {"classes": 7, "drawings": 70, "packages": ["a", "b"], "not_judged": []},
        "seeds": 2,
        "ceiling": real,
        "ceiling_together": {"pairs": pairs, "counts": good},
        "frechet_of_real_halves": 1.5,
        "runs": [run, run | {"steps": 20, "guidance": 4.5}],
    }


def test_the_report_shows_every_run_beside_real_art(tmp_path: Path, report: dict[str, object]) -> None:
    write_report(json.loads(json.dumps(report)), tmp_path / "EVALUATION.md")
    text = (tmp_path / "EVALUATION.md").read_text()
    assert "| measure | 4 steps, no guidance | 20 steps, guidance 4.5 | real art |" in text
    assert "| top-5 | 50.0 % ± 20.0 | 50.0 % ± 20.0 | 80.0 % ± 1.0 |" in text
    assert "blue cat: grey" in text and "| noto | 50.0 % | 70.0 % | 3 |" in text
    assert "$" not in text


def test_the_prompts_are_listed_row_by_row(tmp_path: Path) -> None:
    write_prompts(["a cat", "a dog", "a fox"], 2, 8, 1.0, tmp_path / "generator.md")
    text = (tmp_path / "generator.md").read_text()
    assert "| 1 | a cat · a dog |\n| 2 | a fox |" in text
