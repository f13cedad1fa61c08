"""Candidate plans from the head's numbers."""

import numpy as np
import pytest

from services.orchestrator.intent.clauses import bare, clauses_of, unjoined
from services.orchestrator.intent.decoding import calibrated, candidates, evidence
from services.orchestrator.intent.features import GROUP_BUCKETS, GROUPS_PER_TOKEN, letter_groups, word_span

NAMES = ("generate", "crop", "upscale")


def plans(operations: list[float], order: list[float], *, has_image: bool) -> list[tuple[str, ...]]:
    found = evidence(NAMES, np.asarray(operations, np.float32), np.asarray(order, np.float32))
    return [plan.names for plan in candidates(found, has_image=has_image)]


def test_present_operations_in_order_of_their_scores() -> None:
    assert plans([-5, 4, 4, -5], [0, 2, 1], has_image=True)[0] == ("upscale", "crop")


def test_without_an_image_every_plan_begins_by_generating() -> None:
    found = plans([0.5, 4, 4, -5], [9, 2, 1], has_image=False)
    assert found[0] == ("generate", "upscale", "crop")
    assert all(plan[0] == "generate" for plan in found)
    assert plans([-9, 4, -9, -5], [0, 0, 0], has_image=True)[0] == ("crop",)


def test_candidates_are_distinct_and_best_first() -> None:
    found = evidence(NAMES, np.asarray([-1, 2, 0.2, -3], np.float32), np.zeros(3, np.float32))
    listed = candidates(found, has_image=True)
    assert len({plan.names for plan in listed}) == len(listed)
    assert [p.probability for p in listed] == sorted((p.probability for p in listed), reverse=True)


@pytest.mark.parametrize("probability", [0.0, 1e-9, 0.5, 1.0])
def test_calibrated_is_a_probability(probability: float) -> None:
    assert 0 < calibrated(probability, 1.3, -0.2) < 1


def test_each_operation_gets_its_part_of_the_goal() -> None:
    goal = "crop to 16:9, then upscale it"
    words = [(0, 4), (5, 7), (8, 10), (10, 11), (11, 12), (12, 13), (14, 18), (19, 26), (27, 29)]
    logits = np.full((len(words), len(NAMES) + 1), -4, np.float32)
    logits[:5, 1] = 4
    logits[7:, 2] = 4
    found = clauses_of(goal, logits, np.asarray(words, np.int64), [1, 2])
    assert unjoined(goal[found[1].start : found[1].end]) == "crop to 16:9"
    assert unjoined(goal[found[2].start : found[2].end]) == "upscale it"


def test_bare_drops_articles_and_marks() -> None:
    assert bare("the old lamp,") == "old lamp"
    assert bare("the") == ""


def test_letter_groups_know_words_and_ideographs() -> None:
    groups = letter_groups("Upscale it", [(0, 0), (0, 2), (2, 7), (8, 10), (0, 0)])
    assert groups.shape == (5, GROUPS_PER_TOKEN)
    assert groups.max() < GROUP_BUCKETS
    assert not groups[0].any() and not groups[4].any()
    assert (groups[1] == groups[2]).all(), "pieces of one word share its letters"
    assert word_span("去背景", 1) == (1, 2)
