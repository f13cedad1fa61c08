"""Profiles that a goal names in its words."""

import pytest

from services.orchestrator.planning.profile_words import named

KNOWN = ("acme", "acme-kids", "blank")


@pytest.mark.parametrize(
    ("goal", "name", "wish"),
    [
        ("use our acme profile", "acme", ""),
        ("brighten it with the acme profile", "acme", "brighten it"),
        ("Brighten it, in the Acme brand style, and crop it", "acme", "Brighten it, and crop it"),
        ("apply acme-kids branding, then sharpen", "acme-kids", "sharpen"),
        ("use the acme kids profile and upscale 2x", "acme-kids", "upscale 2x"),
        ("put it on white per the “acme” style guide", "acme", "put it on white"),
        ("the acme brand: a poster of a dog", "acme", "a poster of a dog"),
        ("mit dem Acme-Profil aufhellen", "acme", "aufhellen"),
        ("aplica el perfil acme", "acme", ""),
        ("a poster in our brand acme", "acme", "a poster"),
    ],
)
def test_a_profile_is_found_and_its_words_are_taken_out(goal: str, name: str, wish: str) -> None:
    found = named(goal, KNOWN)
    assert (found.name, found.wish, found.unknown) == (name, wish, "")


@pytest.mark.parametrize(
    "goal",
    [
        "a low profile car",
        "crop it for my linkedin profile",
        "use my profile picture as the background",
        "resize for a twitter profile photo",
        "remove the blank profile of the man",
        "draw an acme anvil falling on a coyote",
        "use a different style",
    ],
)
def test_other_words_name_none(goal: str) -> None:
    found = named(goal, KNOWN)
    assert (found.name, found.wish, found.unknown) == ("", goal, "")


@pytest.mark.parametrize("known", [KNOWN, ()])
def test_a_profile_that_there_is_not_is_told(known: tuple[str, ...]) -> None:
    found = named("make it brighter using our zed profile", known)
    assert (found.name, found.wish, found.unknown) == ("", "make it brighter", "zed")
