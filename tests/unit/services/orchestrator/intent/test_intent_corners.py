"""Rounded corners and round pictures, in five languages, and round things that are something else."""

import time

from services.orchestrator.intent.corners import is_all, rounded
from services.orchestrator.intent.print_sizes import printed


def test_corners_alone() -> None:
    for goal in (
        *("round the corners", "rounded corners please", "give it rounded corners", "make the corners round"),
        *("runde die Ecken ab", "mit abgerundeten Ecken", "arrondis les coins", "avec des coins arrondis"),
        *("redondea las esquinas", "con esquinas redondeadas", "加上圆角"),
    ):
        left, said = rounded(goal)
        assert said == {"corner_radius": 0.08} and is_all(left) and len(left) == len(goal), goal


def test_round_pictures_alone() -> None:
    for goal, around in (
        *(("make it a circle", "subject"), ("crop it to a circle", "subject"), ("make it round", "subject")),
        *(("turn this into a round avatar", "face"), ("circular avatar as png", "face")),
        *(("make a circular avatar of her", "face"), ("make me a round headshot from this photo", "face")),
        *(("mach mir ein rundes Profilbild aus dem Foto", "face"), ("fais un avatar rond de cette photo", "face")),
        *(("haz un avatar circular de ella", "face"), ("做一个圆形头像", "face")),
        *(("mach das Bild rund", "subject"), ("rundes Profilbild", "face"), ("recadre en cercle", "subject")),
        *(("recorta la foto en círculo", "subject"), ("把图片裁剪成圆形", "subject"), ("圆形头像", "face")),
    ):
        left, said = rounded(goal)
        assert said == {"corner_radius": 0.5, "round": around} and is_all(left), goal


def test_beside_other_wishes() -> None:
    for goal, kept in (
        ("remove the background and round the corners", "remove the background"),
        ("resize to 800x600 with rounded corners", "resize to 800x600"),
        ("runde die Ecken ab und mach es heller", "und mach es heller"),
        ("enlève le fond et arrondis les coins", "enlève le fond"),
    ):
        left, said = rounded(goal)
        assert " ".join(left.split()) == kept and said and not is_all(left), goal


def test_other_round_things_stay() -> None:
    for goal in (
        *("darken the corners", "remove the round table", "add a circle in the corner", "turn it around"),
        *("draw a circular avatar of a cat", "make a round icon of a dog for my app"),
        *("remove the round avatar from the corner", "make it brighter around the corners", "round up the colours"),
    ):
        assert rounded(goal) == (goal, {})


def test_the_longest_goal_is_read_at_once() -> None:
    started = time.perf_counter()
    for text in ("and " * 1000, "to at " * 700 + "10x15 cm", "the some soft " * 300):
        rounded(text)
        printed(text)
    assert time.perf_counter() - started < 5
