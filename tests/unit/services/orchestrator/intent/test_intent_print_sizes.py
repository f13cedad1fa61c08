"""Sizes on paper and dots per inch, in five languages, and what is neither."""

from services.orchestrator.intent.files import said_of_file
from services.orchestrator.intent.print_sizes import Print, printed

SMALL = (1181, 1772)  # 10 x 15 cm at 300 dpi
A4 = (2480, 3508)


def test_sizes_on_paper_are_pixels() -> None:
    for goal, left, size, either_way in (
        ("crop to 10 x 15 cm", "crop", SMALL, True),
        ("10x15 cm at 300 dpi", "", SMALL, True),
        ("make it A4 at 300 dpi", "make it", A4, True),
        ("4x6 inches", "", (1200, 1800), True),
        ("resize to 8x10 inch, landscape", "resize , landscape", (3000, 2400), False),
        ("auf A4 mit 300 dpi im Hochformat", "im Hochformat", A4, False),
        ("en 15x10 cm à 300 dpi", "", SMALL, True),
        ("a 10 x 15 cm, 300 ppp", "", SMALL, True),
        ("10x15厘米 300dpi", "", SMALL, True),
        ("100 x 150 mm", "", SMALL, True),
        ("10x15 cm, 150 dpi", "", (591, 886), True),
    ):
        bare, said = printed(goal)
        assert said is not None and (" ".join(bare.split()), said.size, said.either_way) == (left, size, either_way), (
            goal
        )
        assert len(bare) == len(goal)


def test_dots_alone_are_blanked_only_where_their_part_says_no_more() -> None:
    for goal, left in (
        ("set it to 300 dpi", ""),
        ("set the dpi to 300", ""),
        ("zum Drucken mit 300 dpi speichern bitte", ""),
        ("sharpen it and save at 300 dpi", "sharpen it"),
        ("save at 300 dpi and make it warmer", "and make it warmer"),
        ("bring it up to 300 dpi", "bring it up to 300 dpi"),
        ("I need 300 DPI quality for a magazine", "I need 300 DPI quality for a magazine"),
    ):
        bare, said = printed(goal)
        assert said == Print(300) and " ".join(bare.split()) == left, goal


def test_what_is_no_print_stays() -> None:
    for goal in ("resize to 1024x768", "upscale it 4x", "remove the A4 paper from the desk", "4 x 6 icons in a grid"):
        assert printed(goal) == (goal, None)


def test_all_that_is_said_of_a_file_goes_together() -> None:
    left, slots, alone = said_of_file("A4 at 300 dpi as JPEG, under 5 MB", has_image=True)
    assert alone and not any(letter.isalnum() for letter in left.replace("as JPEG", ""))
    assert slots == {
        **{"max_bytes": 5_000_000, "dpi": 300, "paper": "A4", "paper_width": 2480, "paper_height": 3508},
        **{"either_way": 1, "format": "jpeg"},
    }
