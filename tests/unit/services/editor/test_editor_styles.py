"""Named styles: each is whole, each is found by the words that people use for it."""

import numpy as np
import pytest

from services.editor.styling.drawn_styles import DRAWINGS, pixel_art
from services.editor.styling.named_styles import find_style, named_styles, similar_styles
from services.editor.styling.stylizing import finish


def test_every_style_is_a_blend_of_the_networks_own_or_drawn_by_arithmetic() -> None:
    styles = named_styles()
    assert len(styles) >= 12
    for name, style in styles.items():
        if style.blend is None:
            assert style.drawing in DRAWINGS
        else:
            assert style.blend.shape == (26,) and style.blend.sum() == pytest.approx(1) and style.blend.min() >= 0
        assert find_style(name) is style
        assert all(find_style(word) is style for word in style.also), name


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("comic book", "comic"), ("Watercolor", "watercolor"), ("oil painting", "oil-painting"),
        ("painting", "oil-painting"), ("Van  Gogh", "van-gogh"), ("Monet impressionist", "impressionist"),
        ("a pencil drawing", "pencil-sketch"), ("pixel art", "pixel-art"),
        ("8-bit game", "pixel-art"), ("水彩画", "watercolor"), ("Pop_Art", "pop-art"),
        ("colored pencil drawing", "colored-pencil"), ("charcoal", "charcoal"), ("Pixar cartoon", "comic"),
    ],
)  # fmt: skip
def test_people_say_it_in_their_words(words: str, name: str) -> None:
    style = find_style(words)
    assert style is not None and style.name == name


@pytest.mark.parametrize("words", ["", "boiled", "Klimt"])
def test_what_is_no_style_of_ours_is_not_guessed(words: str) -> None:
    assert find_style(words) is None


def test_what_is_nearly_a_style_of_ours_is_named() -> None:
    assert similar_styles("water color")[0] == "watercolor" and similar_styles("pixle art")[0] == "pixel-art"
    assert similar_styles("qqqq") == []


@pytest.mark.parametrize("name", sorted(DRAWINGS))
def test_drawings_keep_what_is_light_and_dark_at_any_size(name: str) -> None:
    for height, width in ((1, 1), (3, 50), (240, 320)):
        colors = np.full((height, width, 3), 235, np.uint8)
        colors[:, width // 2 :] = [40, 30, 60]
        drawn = DRAWINGS[name](colors)
        assert drawn.shape == colors.shape and drawn.dtype == np.uint8
        if width == 320:
            assert drawn[:, 20:140].mean() > drawn[:, 180:300].mean() + 40
            assert np.array_equal(drawn, DRAWINGS[name](colors))


def test_pixel_art_is_squares_of_few_colours() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (336, 336, 3), dtype=np.uint8)
    drawn = pixel_art(noise)
    assert np.array_equal(drawn[::3, ::3].repeat(3, 0).repeat(3, 1), drawn)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) <= 24


def test_a_painting_is_enlarged_with_the_pictures_detail() -> None:
    checks = (np.indices((64, 64)).sum(0) % 2 * 80 + 80).astype(np.uint8)[..., np.newaxis].repeat(3, 2)
    painted = np.full((32, 32, 3), 150, np.uint8)
    larger = finish(painted, checks, "own")
    assert larger.shape == checks.shape and 10 < larger[20:40, 20:40].std() < checks.std()


def test_colours_are_the_photos_or_none() -> None:
    photo, painted = np.full((40, 40, 3), [180, 90, 60], np.uint8), np.full((40, 40, 3), [60, 90, 200], np.uint8)
    kept, grey = (
        finish(painted, photo, "photo")[20, 20].astype(int),
        finish(painted, photo, "grey")[20, 20],
    )
    assert kept[0] > kept[1] > kept[2] and kept.sum() < photo[0, 0].sum()
    assert np.ptp(grey) <= 1
    assert np.array_equal(finish(painted, photo, "own"), painted)
