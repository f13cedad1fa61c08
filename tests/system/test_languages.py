"""A goal or prompt in another language draws what the English one draws, byte for byte, through real services."""

import pytest
from stack import Stack

from diptych.client import AsyncClient


@pytest.mark.parametrize("model", ["", "diptych-icons-turbo"])
async def test_the_same_picture_whatever_the_language(stack: Stack, model: str) -> None:
    async with AsyncClient(generator_address=stack.generator.address) as client:
        drawn = [
            await client.generate(prompt, model=model, seed=7, num_inference_steps=2, timeout=600)
            for prompt in ("a blue car", "un coche azul", "一辆蓝色的汽车")
        ]
    assert drawn[0].bytes == drawn[1].bytes == drawn[2].bytes
    assert [result.read_prompt for result in drawn] == ["", "a blue car", "a blue car"]
    assert drawn[1].record.parameters["prompt"] == "un coche azul", "the caller's own words"
    assert drawn[1].record.parameters["read_prompt"] == "a blue car"


async def test_goals_are_drawn_in_their_language(stack: Stack) -> None:
    async with AsyncClient(stack.orchestrator.address) as client:
        english, *others = [
            await client.create(goal, seed=7, timeout=600)
            for goal in ("draw a fox", "zeichne einen Fuchs", "dibuja un zorro", "画一只狐狸")
        ]
    assert [other.bytes == english.bytes for other in others] == [True] * 3
    assert {other.records[0].parameters["read_prompt"] for other in others} == {"a fox"}
