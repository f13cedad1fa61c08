import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.editor.filling.harmonize import grain_of, harmonized, tone_of, with_grain
from services.editor.operations.blur_background import distance_behind, distance_by_depth, refocus
from services.editor.operations.replace_background import Gradient, cover, gradient, lay_on
from services.editor.pixels.lens_blur import defocused, disc

RED, BLUE = (220, 30, 30), (20, 40, 200)


def disc_matte(height: int, width: int, radius: float, middle: float = 0.5) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height * middle, x - width / 2)
    return (radius + 0.5 - distance).clip(0, 1).astype(np.float32)


def subject_on_ground(height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A red disc on blue, antialiased, and its matte."""
    matte = disc_matte(height, width, 30)
    share = matte[..., np.newaxis]
    return np.rint(np.array(RED) * share + np.array(BLUE) * (1 - share)).astype(np.uint8), matte


@pytest.mark.parametrize("radius", [1.0, 5.5, 12.0, 30.0])
def test_the_subject_gives_nothing_to_the_blur(radius: float) -> None:
    pixels, matte = subject_on_ground()
    blurred = defocused(pixels, (matte < 0.02).astype(np.float32), radius)
    assert np.abs(blurred.astype(int) - BLUE).max() <= 3


@pytest.mark.parametrize("radius", [3.0, 25.0])
def test_a_point_of_light_becomes_a_disc(radius: float) -> None:
    pixels = np.zeros((161, 161, 3), np.uint8)
    pixels[78:83, 78:83] = 255
    light = defocused(pixels, np.ones((161, 161), np.float32), radius).astype(int)[..., 0]
    y, x = np.mgrid[:161, :161] - 80
    away = np.hypot(y, x)
    assert light[away < radius * 0.5].min() > 0
    assert light[away > radius + 8].max() <= 1
    inside = light[away < radius * 0.6] if radius > 10 else light[away < 1]
    assert np.ptp(inside) < 0.35 * inside.max()


@given(st.floats(0.1, 40))
@settings(max_examples=30, deadline=None)
def test_a_disc_keeps_all_light(radius: float) -> None:
    assert abs(float(disc(radius).sum()) - 1) < 1e-4


def test_the_subject_stays_sharp_and_what_is_behind_goes_soft_without_a_halo() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    pixels[..., 0] //= 4
    matte = disc_matte(120, 160, 30)
    pixels[matte > 0.5] = RED
    result = refocus(pixels, matte, 12, distance_behind(matte))
    assert np.array_equal(result[matte == 1], pixels[matte == 1])
    behind = matte == 0
    assert result[:20, :, 1].std() < pixels[:20, :, 1].std() / 3
    assert int(result[behind][:, 0].max()) < 90, "red of the subject shines into what is behind it"


def test_what_stands_near_is_less_out_of_focus_than_what_is_far() -> None:
    standing = distance_behind(disc_matte(200, 200, 40, middle=0.6))
    foot = 160
    assert standing[foot, 100] < 0.01
    column = standing[: foot + 1, 100]
    assert (np.diff(column) <= 0).all() and column[0] == 1
    cut = disc_matte(200, 200, 60, middle=1.0)
    assert (distance_behind(cut) == 1).all()
    assert (distance_behind(np.zeros((50, 50), np.float32)) == 1).all()


def test_alpha_stays_when_the_background_blurs() -> None:
    pixels, matte = subject_on_ground()
    alpha = np.random.default_rng(1).integers(0, 256, (120, 160, 1), dtype=np.uint8)
    result = refocus(np.concatenate([pixels, alpha], axis=2), matte, 6, distance_behind(matte))
    assert np.array_equal(result[..., 3:], alpha)


@pytest.mark.parametrize(
    ("angle", "first", "last"),
    [(0, (0, 50), (-1, 50)), (90, (50, -1), (50, 0)), (180, (-1, 50), (0, 50)), (-90, (50, 0), (50, -1))],
)
def test_gradients_run_where_the_angle_says(angle: float, first: tuple[int, int], last: tuple[int, int]) -> None:
    made = gradient(Gradient((0, 0, 0), (250, 200, 100), angle), 101, 101)
    assert made[first].max() <= 3
    assert np.abs(made[last].astype(int) - (250, 200, 100)).max() <= 3
    assert np.abs(made[50, 50].astype(int) - (125, 100, 50)).max() <= 1


def test_a_picture_covers_the_size_and_keeps_its_aspect() -> None:
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 255
    assert (cover(wide, 50, 50) == 255).mean() > 0.95
    assert cover(wide, 300, 40).shape == (40, 300, 3)


def test_the_old_background_is_gone_from_soft_edges() -> None:
    pixels, matte = subject_on_ground()
    green = np.full_like(pixels, (0, 180, 0))
    result = lay_on(pixels, matte, green, 0)
    assert np.array_equal(result[matte == 0], green[matte == 0])
    assert np.array_equal(result[matte == 1], pixels[matte == 1])
    assert result[..., 2].max() <= 60, "blue of the old background is left"


def test_a_transparent_background_stays_transparent() -> None:
    pixels, matte = subject_on_ground()
    result = lay_on(pixels, matte, np.zeros((*matte.shape, 4), np.uint8), 0)
    assert np.array_equal(result[..., 3], np.rint(matte * 255).astype(np.uint8))


def scene(seed: int, light: float, cast: tuple[float, float, float], grain: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = random.uniform(0.2, 0.8, (8, 8, 3)).repeat(24, 0).repeat(24, 1)
    lit = coarse * light * np.array(cast) * 255 + random.normal(0, grain, coarse.shape)
    return lit.clip(0, 255).astype(np.uint8)


def test_a_subject_moves_towards_its_surroundings_in_light_colour_and_grain() -> None:
    subject, around = scene(1, 1.0, (1.0, 1.0, 1.0), 0), scene(2, 0.6, (0.8, 0.95, 1.2), 5)
    own, target = tone_of(subject), tone_of(around)
    assert own is not None and target is not None
    half = tone_of(harmonized(subject, own, target, 0.5))
    whole = tone_of(harmonized(subject, own, target, 1))
    assert half is not None and whole is not None
    assert own.light > half.light > whole.light > target.light
    assert own.cast[2] < half.cast[2] < whole.cast[2] < target.cast[2]
    assert own.grain < half.grain < whole.grain <= target.grain * 1.2
    assert np.array_equal(harmonized(subject, own, target, 0), subject)


def test_the_colour_of_a_thing_is_not_taken_for_its_light() -> None:
    orange = scene(4, 1.0, (1.0, 0.55, 0.2), 0)
    table = scene(5, 0.8, (1.0, 0.75, 0.55), 0)
    result = harmonized(orange, tone_of(orange), tone_of(table), 1)
    before, after = orange.reshape(-1, 3).mean(axis=0), result.reshape(-1, 3).mean(axis=0)
    # In warm light it is no less warm: neither blue nor green gains on red.
    assert after[2] / after[0] <= before[2] / before[0]
    assert after[1] / after[0] <= before[1] / before[0]


def test_harmonising_with_itself_changes_next_to_nothing() -> None:
    # Greys, whose cast is their light's.
    greys = scene(3, 0.9, (1.0, 1.0, 1.0), 3).mean(axis=2, keepdims=True)
    subject = (greys * (1.0, 0.95, 0.9)).astype(np.uint8)
    own = tone_of(subject)
    assert np.abs(harmonized(subject, own, own, 1).astype(int) - subject).max() <= 1


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0])
def test_grain_is_measured_and_added_as_asked(sigma: float) -> None:
    flat = np.full((256, 256, 3), 128, np.uint8)
    noisy = with_grain(flat, sigma)
    assert abs(float(noisy.astype(float).std()) - sigma) < 0.15 * sigma
    assert abs(grain_of(noisy) - sigma) < 0.35 * sigma
    assert np.array_equal(noisy, with_grain(flat, sigma))


def test_depth_tells_what_is_out_of_focus() -> None:
    matte = np.zeros((90, 120), np.float32)
    matte[30:90, 50:70] = 1
    # The ground comes nearer downwards; the network's edge around the subject is soft.
    depth = np.repeat(np.linspace(0, 240, 90)[:, np.newaxis], 120, axis=1).astype(np.uint8)
    depth[28:, 48:72] = 160
    away = distance_by_depth(depth, matte)
    assert away[0, 10] == away.max() == 1
    assert away[60, 10] < 0.05 < away[89, 10] < away[20, 10]
    assert away[29, 60] == pytest.approx(away[29, 10], abs=0.15), "no sharp rim behind the subject"
    flat = distance_by_depth(np.full((90, 120), 90, np.uint8), matte)
    assert not flat.any(), "all at one distance is all in focus"
