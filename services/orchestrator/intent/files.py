"""All that a goal says of the file it wants, beside what is to be done to the picture: its bytes, its dots per inch."""

from services.orchestrator.intent import file_sizes, formats, print_sizes

Slots = dict[str, str | float | int]


def said_of_file(goal: str, *, has_image: bool) -> tuple[str, Slots, bool]:
    """The goal without such words (blanked, as long as it was), their slots, and whether they were all of it.

    Slots: `max_bytes`, `dpi`, and for a size on paper `paper` (its words), `paper_width` and `paper_height` in pixels,
    and `either_way`. `format` only where nothing else was said.
    """
    text, max_bytes = file_sizes.allowed(goal, has_image=has_image)
    slots: Slots = {} if max_bytes is None else {"max_bytes": max_bytes}
    bare, said = print_sizes.printed(text)
    if said is not None:
        slots["dpi"] = said.dpi
        if said.size is not None:
            slots |= {"paper": said.words, "paper_width": said.size[0], "paper_height": said.size[1]}
            slots |= {"either_way": 1} if said.either_way else {}
    alone = bool(slots) and (file_sizes.is_all(bare) or (said is not None and print_sizes.is_all(bare)))
    if not alone:
        return (bare if any(letter.isalpha() for letter in bare) else goal), slots, False
    if not has_image:
        return goal, slots, False
    name = formats.mentioned(bare)
    return bare, {**slots, **({"format": name} if name else {})}, True
