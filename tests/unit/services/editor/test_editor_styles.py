"""Named styles: each is whole, each is found by the words that people use for it."""

import numpy as np
import pytest

from services.editor.named_styles import find_style, named_styles
from services.editor.stylizing import finish


def test_every_style_is_a_blend_of_the_networks_own() -> None:
    styles = named_styles()
    assert len(styles) >= 12
    for name, style in styles.items():
        assert style.blend.shape == (26,) and style.blend.sum() == pytest.approx(1) and style.blend.min() >= 0
        assert find_style(name) is style
        assert all(find_style(word) is style for word in style.also), name


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("comic book", "comic"), ("Watercolor", "watercolor"), ("oil painting", "oil-painting"),
        ("painting", "oil-painting"), ("Van  Gogh", "van-gogh"), ("Monet impressionist", "impressionist"),
        ("a pencil drawing", "sketch"), ("水彩画", "watercolor"), ("Pop_Art", "pop-art"),
        ("colored pencil drawing", "colored-pencil"), ("charcoal", "charcoal"), ("Pixar cartoon", "comic"),
    ],
)  # fmt: skip
def test_people_say_it_in_their_words(words: str, name: str) -> None:
    style = find_style(words)
    assert style is not None and style.name == name


@pytest.mark.parametrize("words", ["", "pixel art", "boiled", "Klimt"])
def test_what_is_no_style_of_ours_is_not_guessed(words: str) -> None:
    assert find_style(words) is None


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
