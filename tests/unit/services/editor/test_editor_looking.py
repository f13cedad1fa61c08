"""What is measured and decided by looking: analysis, effect, selections, drawings, plain grounds."""

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage
from skimage import data

from diptych import labels
from diptych.v1 import image_pb2
from services.editor.context import EditContext
from services.editor.cutting.content import looks_drawn
from services.editor.cutting.finding import _chosen
from services.editor.cutting.matte_upsampling import led_by_colors
from services.editor.cutting.plain_ground import mend
from services.editor.cutting.selection import _finish
from services.editor.effect import measure
from services.editor.operations.remove_background import cut_out
from services.editor.seeing import analysis
from services.editor.seeing.things import Thing


def flat(color: tuple[int, int, int], size: int = 32) -> np.ndarray:
    return np.full((size, size, 3), color, np.uint8)


@pytest.mark.parametrize(
    ("color", "name"),
    [
        ((255, 0, 0), "red"), ((128, 0, 0), "dark red"), ((0, 0, 255), "blue"), ((135, 206, 235), "light blue"),
        ((0, 128, 0), "green"), ((255, 255, 0), "yellow"), ((255, 136, 0), "orange"), ((139, 69, 19), "brown"),
        ((255, 192, 203), "pink"), ((128, 0, 128), "purple"), ((128, 128, 128), "grey"), ((255, 255, 255), "white"),
        ((0, 0, 0), "black"), ((64, 224, 208), "turquoise"), ((245, 245, 220), "beige"), ((128, 128, 0), "olive"),
    ],
)  # fmt: skip
def test_colours_have_common_names(color: tuple[int, int, int], name: str) -> None:
    (found,) = analysis.palette(flat(color))
    assert found.name == name
    assert found.color == "#{:02x}{:02x}{:02x}".format(*color) and found.fraction == pytest.approx(1)


def test_the_palette_is_in_order_of_share_and_leaves_out_what_is_clear() -> None:
    pixels = np.zeros((10, 10, 4), np.uint8)
    pixels[:6] = [230, 30, 30, 255]
    pixels[6:8] = [30, 30, 230, 255]
    assert [(one.name, round(one.fraction, 2)) for one in analysis.palette(pixels)] == [("red", 0.75), ("blue", 0.25)]
    assert analysis.palette(np.zeros((3, 3, 4), np.uint8)) == []


def test_light() -> None:
    middle = analysis.lighting(flat((118, 118, 118)))
    assert middle.exposure == pytest.approx(0, abs=0.05) and middle.key == "normal" and middle.contrast < 1e-3
    assert middle.color_temperature == pytest.approx(6500, abs=60)
    assert analysis.lighting(flat((255, 190, 120))).color_temperature < 4500
    assert analysis.lighting(flat((0, 200, 0))).color_temperature == 0
    dark, bright = analysis.lighting(flat((0, 0, 0))), analysis.lighting(flat((255, 255, 255)))
    assert (dark.clipped_shadows, dark.key) == (1, "low") and (bright.clipped_highlights, bright.key) == (1, "high")
    assert analysis.lighting(np.zeros((2, 2, 4), np.uint8)).mean_luminance == 0


def test_noise_is_measured_and_a_blur_is_soft() -> None:
    random = np.random.default_rng(7)
    grey = random.normal(128, 8, (200, 200, 1)).clip(0, 255).astype(np.uint8).repeat(3, 2)
    assert analysis.quality(grey).noise == pytest.approx(8, rel=0.1)
    assert analysis.quality(flat((9, 9, 9))).sharpness == 0
    checks = (np.indices((64, 64)).sum(0) // 8 % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    assert analysis.quality(checks).sharpness > 1000
    assert analysis.quality(flat((1, 2, 3), 2)).noise == 0


def test_effect_finds_the_change_and_its_place() -> None:
    before = flat((10, 20, 30), 300)
    after = before.copy()
    after[260:270, 5:8] += 50
    report = measure(before, after)
    assert report.effect == image_pb2.EFFECT_CHANGED
    assert report.changed_region == image_pb2.Box(x=5, y=260, width=3, height=10)
    assert report.changed_fraction == pytest.approx(30 / 90_000)
    assert report.mean_difference == pytest.approx(50 * 30 / 90_000)
    assert not report.HasField("max_difference_outside")
    mask = np.zeros((300, 300), np.float32)
    assert measure(before, after, mask).max_difference_outside == 50
    mask[250:, :10] = 0.01
    assert measure(before, after, mask).max_difference_outside == 0


def test_effect_of_rounding_of_hidden_colour_and_of_size() -> None:
    before = np.full((4, 4, 4), 100, np.uint8)
    assert measure(before, before + 1).effect == image_pb2.EFFECT_NO_EFFECT
    hidden = np.zeros((4, 4, 4), np.uint8)
    colored = hidden.copy()
    colored[..., 0] = 200
    assert measure(hidden, colored).effect == image_pb2.EFFECT_NO_EFFECT
    grown = measure(before, np.zeros((5, 4, 4), np.uint8))
    assert grown.changed_fraction == 1 and grown.changed_region.height == 5
    opaque = measure(before[..., :3], np.dstack([before[..., :3], np.full((4, 4), 0, np.uint8)]))
    assert opaque.changed_fraction == 1


def test_feathering_goes_inwards_only() -> None:
    mask = np.zeros((40, 40), np.float32)
    mask[10:30, 10:30] = 1
    soft = _finish(mask, 6, False)
    assert (soft[mask == 0] == 0).all()
    assert soft[20, 20] == 1 and 0 < soft[20, 10] < 0.1 < soft[20, 13] < 1
    inverted = _finish(mask, 0, True)
    assert inverted[0, 0] == 1 and inverted[20, 20] == 0
    assert (_finish(np.ones((5, 5), np.float32), 50, False) == 1).all()


def icon(size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A ring with a bar, antialiased, on near-white; and its true alpha."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    radius = np.hypot(x, y)
    ring = (np.minimum(size * 0.4 - radius, radius - size * 0.22) + 0.5).clip(0, 1)
    bar = (np.minimum(size * 0.05 - np.abs(x), size * 0.3 - np.abs(y)) + 0.5).clip(0, 1)
    alpha = np.maximum(ring, bar)[..., None]
    return np.rint(np.array([200, 40, 60]) * alpha + 250 * (1 - alpha)).astype(np.uint8), alpha[..., 0]


def test_drawings_and_photographs_are_told_apart() -> None:
    assert looks_drawn(icon()[0])
    random = np.random.default_rng(8)
    assert not looks_drawn(random.normal(120, 12, (100, 100, 3)).clip(0, 255).astype(np.uint8))
    ramp = np.add.outer(np.arange(128) * 2, np.arange(128) * 3)[..., None] % 256
    assert not looks_drawn((ramp * [0.9, 0.6, 0.4] + random.normal(0, 4, (128, 128, 3))).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("side", [640, 1024, 2048])
def test_an_evening_sky_is_no_drawing(side: int) -> None:
    rocket = PillowImage.fromarray(data.rocket())
    rocket.thumbnail((side, side))
    larger = rocket.resize((side, round(side * rocket.height / rocket.width)), PillowImage.Resampling.LANCZOS)
    assert not looks_drawn(np.asarray(larger))


def test_holes_that_a_network_left_in_a_drawing_are_filled_and_the_ground_is_cleared() -> None:
    pixels, truth = icon()
    matte = truth.astype(np.float32) * 0.9
    matte[20:40, 20:40] = 0
    matte[:5] = 0.3
    mended = mend(pixels, matte, drawn=True)
    assert mended is not None
    assert np.abs(mended - truth).max() < 0.12
    inside = (slice(44, 52), slice(28, 40))
    assert truth[inside].max() == 0 and mended[inside].max() == 0


def test_a_cut_out_drawing_has_no_fringe_of_its_ground() -> None:
    pixels, truth = icon()
    # A network's edge lies a pixel too far out, where the ground shines through.
    matte = np.asarray(cv2.dilate(truth.astype(np.float32), np.ones((3, 3), np.uint8)), np.float32)
    mended = mend(pixels, matte, drawn=True)
    assert mended is not None
    assert np.abs(mended - truth).max() < 0.2
    cut = cut_out(pixels, mended, True)
    seen = cut[cut[..., 3] > 25][:, :3]
    assert np.abs(seen.astype(int) - (200, 40, 60)).max() <= 20


def outlined(size: int, line: float, fill: int = 255) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A disc of grey `fill` within a dark line `line` pixels wide, on white; alpha of disc and line."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    radius = np.hypot(x, y)
    disc = (size * 0.4 - radius + 0.5).clip(0, 1).astype(np.float32)
    inner = (size * 0.4 - line - radius + 0.5).clip(0, 1).astype(np.float32)
    tones = 255 * (1 - disc) + 90 * (disc - inner) + fill * inner
    return np.repeat(np.rint(tones).astype(np.uint8)[..., None], 3, axis=2), disc, disc - inner


@pytest.mark.parametrize("fill", [255, 240])
def test_what_a_thin_line_was_drawn_around_is_kept_though_as_white_as_the_ground(fill: int) -> None:
    pixels, disc, line = outlined(200, 5, fill)
    mended = mend(pixels, line, drawn=True)
    assert mended is not None
    assert np.abs(mended - disc).max() < 0.1


def test_the_hole_of_a_ring_stays_a_hole() -> None:
    pixels, _, ring = outlined(200, 22)
    mended = mend(pixels, ring, drawn=True)
    assert mended is not None
    assert np.abs(mended - ring).max() < 0.1


def test_a_rough_drawing_loses_its_haze_and_what_may_be_a_photograph_is_left_to_the_network() -> None:
    pixels, disc, _ = outlined(200, 60, 120)
    random = np.random.default_rng(4)
    haze = cv2.GaussianBlur(disc, (0, 0), 6)[..., None] * 14 * random.uniform(0.5, 1, pixels.shape)
    rough = np.where(disc[..., None] > 0, pixels, pixels - haze).astype(np.uint8)
    # The network's edge lies too far out.
    matte = np.asarray(cv2.dilate(disc, np.ones((7, 7), np.uint8)), np.float32)
    mended = mend(rough, matte, drawn=False)
    assert mended is not None
    outside = cv2.dilate(disc, np.ones((5, 5), np.uint8)) == 0
    assert mended[outside].max() < 0.1 and mended[disc == 1].min() > 0.5
    large = np.asarray(cv2.resize(rough, (600, 600)), np.uint8)
    assert mend(large, np.ones((600, 600), np.float32), drawn=False) is None


def test_an_enlarged_matte_finds_the_edge_of_the_picture() -> None:
    random = np.random.default_rng(3)
    y, x = np.mgrid[:480, :480] - 239.5
    truth = (150 - np.hypot(x, y * 1.3) + 0.5).clip(0, 1).astype(np.float32)
    pixels = np.array([190, 60, 40]) * truth[..., None] + np.array([60, 110, 130]) * (1 - truth[..., None])
    pixels = (pixels + random.normal(0, 5, pixels.shape)).clip(0, 255).astype(np.uint8)
    small = cv2.GaussianBlur(cv2.resize(truth, (120, 120), interpolation=cv2.INTER_AREA), (0, 0), 1)
    matte = np.clip(cv2.resize(small, (480, 480), interpolation=cv2.INTER_CUBIC), 0, 1).astype(np.float32)
    led = led_by_colors(pixels, matte, 4.0)
    assert np.abs(led - truth).mean() < 0.35 * np.abs(matte - truth).mean()
    # What says nothing changes nothing.
    plain = np.full_like(pixels, 128)
    assert np.abs(led_by_colors(plain, matte, 4.0) - matte).max() < 0.02


def test_nothing_is_mended_where_the_ground_is_not_plain() -> None:
    photo = np.random.default_rng(9).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    assert mend(photo, np.ones((60, 60), np.float32), drawn=True) is None


@pytest.mark.parametrize(
    ("label", "kinds", "which"),
    [
        ("the left dog", ("dog",), "left"), ("der rechte Hund", ("dog",), "right"),
        ("chien de gauche", ("dog",), "left"),
        ("el perro izquierdo", ("dog",), "left"), ("左边的狗", ("dog",), "left"),
        ("the biggest cup", ("cup",), "largest"),
        ("la voiture rouge", ("car",), ""), ("sac à dos noir", ("backpack",), ""), ("man on a horse", ("person",), ""),
        ("all people", ("person",), ""), ("feu de circulation", ("traffic light",), ""), ("bright car", ("car",), ""),
        ("Hintergrund", ("background",), ""), ("xyzzy", (), ""),
    ],
)  # fmt: skip
def test_things_are_named_in_five_languages(label: str, kinds: tuple[str, ...], which: str) -> None:
    assert labels.meaning(label) == kinds and labels.which(label) == which


def test_every_kind_has_words_of_its_own() -> None:
    table = tomllib.loads(Path(labels.__file__).with_name("labels.toml").read_text(encoding="utf-8"))
    assert set(labels.COCO) <= set(table["kinds"])
    assert set(table["kinds"]) <= {*labels.COCO, *labels.SPECIAL}
    for kind, words in table["kinds"].items():
        assert all(kind in labels.meaning(word) for word in words), kind


def test_of_several_things_the_one_that_was_meant_is_chosen() -> None:
    boxes = [(0, 50, 10, 60), (40, 0, 90, 40), (95, 70, 100, 75)]
    things = [Thing("dog", 0.9, np.array(box, np.float32)) for box in boxes]
    noted = SimpleNamespace(note=lambda **values: None)
    for which, index in (("left", 0), ("right", 2), ("top", 1), ("bottom", 2), ("largest", 1), ("smallest", 2)):
        assert _chosen(things, which, cast(EditContext, noted)) == [things[index]], which
    assert _chosen(things, "", cast(EditContext, noted)) == things
