"""Holes completed by pieces: structure goes on, levels meet, labels agree, and nothing else changes."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.editor.filling.completion import completed
from services.editor.filling.joining import correction
from services.editor.pixels.dominant_shifts import dominant_shifts
from services.editor.pixels.labelling import Problem, labelled


def roof(height: int, width: int) -> np.ndarray:
    """Bright sky over a dark field, both rough, parted by a slanted line."""
    y, x = np.mgrid[:height, :width]
    below = y > height * 0.35 + x * 0.2
    picture = np.where(below[..., np.newaxis], (70, 90, 50), (190, 200, 225)).astype(float)
    picture += np.random.default_rng(2).normal(0, 5, (height, width, 1))
    return picture.clip(0, 255).astype(np.uint8)


def test_a_line_goes_on_straight_through_a_hole_at_any_size() -> None:
    for scale in (1, 2):
        truth = roof(160 * scale, 220 * scale)
        hole = np.zeros(truth.shape[:2], bool)
        hole[40 * scale : 120 * scale, 80 * scale : 150 * scale] = True
        pixels = truth.copy()
        pixels[hole] = (255, 0, 255)
        result = completed(pixels, hole)
        assert result is not None
        assert np.array_equal(result[~hole], pixels[~hole])
        wrong = np.abs(result.astype(int) - truth).max(2)[hole] > 60
        assert wrong.mean() < 0.03, f"{wrong.mean():.3f} of the hole at {scale} times the size is on the wrong side"


def test_levels_meet_where_light_changes_across_the_picture() -> None:
    y, x = np.mgrid[:140, :200]
    smooth = 60 + 0.6 * x + 0.3 * y
    truth = np.repeat((smooth + np.random.default_rng(3).normal(0, 1, smooth.shape))[..., np.newaxis], 3, 2)
    truth = truth.clip(0, 255).astype(np.uint8)
    hole = np.zeros((140, 200), bool)
    hole[40:100, 60:130] = True
    pixels = np.where(hole[..., np.newaxis], np.uint8(0), truth)
    result = completed(pixels, hole)
    assert result is not None
    assert np.abs(result.astype(int) - truth)[hole].mean() < 4
    steps = np.abs(np.diff(result[..., 0].astype(int), axis=1))[41:99, 55:135]
    assert steps.max() < 14, "a seam shows"


def test_the_shifts_of_a_pattern_are_its_periods() -> None:
    x = np.arange(240)
    row = np.where((x // 12) % 2, 0.8, 0.3)
    picture = np.repeat(row[np.newaxis, :, np.newaxis], 120, 0).astype(np.float32)
    picture += np.random.default_rng(4).normal(0, 0.01, picture.shape).astype(np.float32)
    hole = np.zeros((120, 240), bool)
    hole[50:70, 100:130] = True
    found = dominant_shifts(picture, hole, 10)
    assert len(found) == 10
    assert (np.abs((found[:, 1] + 12) % 24 - 12) <= 1).all(), found


def test_a_piece_that_is_only_darker_is_lifted_to_what_is_around() -> None:
    picture = np.full((20, 40, 3), 100, np.float32)
    picture[:, 20:] = 70
    hole = np.zeros((20, 40), bool)
    hole[5:15, 5:15] = True
    labels = np.full((20, 40), -1, np.int16)
    labels[hole] = 0
    added = correction(picture, hole, labels, np.array([[0, 20]]))
    assert np.allclose(added[hole], 30, atol=0.1)
    assert not added[~hole].any()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_labels_of_two_kinds_are_the_best_there_are(seed: int) -> None:
    random = np.random.default_rng(seed)
    edges = np.array([(0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (1, 4), (2, 5)])
    # Looks that do not vary over places make neighbours' costs a metric: then the best cut is the best labelling.
    looks = np.repeat(random.uniform(0, 1, (2, 1, 2)), 6, 1).astype(np.float32)
    problem = Problem(random.uniform(0, 2, (2, 6)).astype(np.float32), looks, edges)
    found = labelled(problem, problem.alone.argmin(0), 3)
    best = min(problem.cost(np.array(labels)) for labels in itertools.product((0, 1), repeat=6))
    assert problem.cost(found) <= best + 0.05


def test_a_label_is_never_given_where_it_cannot_be() -> None:
    alone = np.array([[0, np.inf, 0, np.inf], [1, 1, 1, 1]], np.float32)
    looks = np.array([np.zeros((4, 1)), np.ones((4, 1))], np.float32)
    problem = Problem(alone, looks, np.array([(0, 1), (1, 2), (2, 3)]))
    found = labelled(problem, np.ones(4, np.int64), 2)
    assert np.isfinite(problem.cost(found))


def test_a_hole_that_nothing_can_fill_is_said_so() -> None:
    hole = np.ones((30, 40), bool)
    assert completed(np.zeros((30, 40, 3), np.uint8), hole) is None
