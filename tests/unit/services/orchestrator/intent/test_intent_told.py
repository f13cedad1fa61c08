# ruff: noqa: RUF001 - the marks of other scripts are meant
"""What closed words tell beyond doubt."""

import pytest

from services.orchestrator.intent.told import cuts_out, recolours


@pytest.mark.parametrize(
    "part",
    [
        "make the car red",
        "paint my front door dark green please",
        "mach das Auto rot",
        "mach bitte meinen Pulli grün",
        "färbe die Wand dunkelgrün",
        "pon el coche rojo",
        "pon mi chaqueta de color azul marino",
        "mets la voiture en rouge",
        "rends ma robe bleue",
        "把车变成红色",
        "把我的衣服改成蓝色",
    ],
)
def test_a_thing_gets_another_colour(part: str) -> None:
    assert recolours(part)


@pytest.mark.parametrize(
    "part",
    [
        "make the background white",
        "make the photo black and white",
        "make the sky more blue",
        "turn the red car around",
        "make the dog a cat",
        "mach die Zähne weiß",
        "mach den Hintergrund weiß",
        "mach das Auto weg",
        "pon el fondo blanco",
        "mets la photo en noir et blanc",
        "把背景换成白色",
        "把照片变成黑白",
    ],
)
def test_no_thing_gets_another_colour(part: str) -> None:
    assert not recolours(part)


@pytest.mark.parametrize(
    "part",
    ["then cut it out", "und schneide ihn aus", "und stell ihn frei", "et détoure-le", "y recórtalo.", "，然后抠出来"],
)
def test_what_was_drawn_is_cut_out(part: str) -> None:
    assert cuts_out(part)


@pytest.mark.parametrize("part", ["crop it", "y recórtalo en cuadrado", "und schneide es zu", "cut the top off"])
def test_nothing_is_cut_out(part: str) -> None:
    assert not cuts_out(part)
