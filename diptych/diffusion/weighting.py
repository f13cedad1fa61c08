"""Weights on parts of a prompt, written `(word:1.3)`."""

import re
from dataclasses import dataclass

_MOST_WEIGHT = 10.0
_PIECE = re.compile(r"\\[()\\]|\(|:\s*([0-9]*\.?[0-9]+)\s*\)|.", re.DOTALL)


@dataclass(frozen=True)
class WeightedText:
    """A prompt without its marks, and the weight of each of its characters; `weights` is empty when all are 1."""

    text: str
    weights: tuple[float, ...] = ()


def read_weights(prompt: str) -> WeightedText:
    """The prompt's words and their weights.

    `(words:1.3)` weighs what stands in it, 0 to 10; weights inside one another multiply, up to 10. Brackets without a
    number are plain text, and so are `\\(` and `\\)` where a weight would be read otherwise.
    """
    if ":" not in prompt or "(" not in prompt:
        return WeightedText(prompt)
    text: list[str] = []
    weights: list[float] = []
    opened: list[int] = []
    weighted = False
    for piece in _PIECE.finditer(prompt):
        content = piece.group()
        if piece.group(1) is not None and opened:
            start = opened.pop()
            weight = float(piece.group(1))
            del text[start], weights[start]  # The opening bracket is a mark after all.
            weights[start:] = [min(one * weight, _MOST_WEIGHT) for one in weights[start:]]
            weighted = True
            continue
        if content == "(":
            opened.append(len(text))
        elif content == ")" and opened:
            opened.pop()
        plain = content[1:] if content[0] == "\\" and len(content) == 2 else content
        text.extend(plain)
        weights.extend([1.0] * len(plain))
    return WeightedText("".join(text), tuple(weights)) if weighted else WeightedText(prompt)
