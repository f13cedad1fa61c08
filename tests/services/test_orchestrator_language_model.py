"""The language-model planner against a server that speaks chat completions: good plans, bad ones, errors, silence."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from tests.services.orchestrator_house import grey_of, picture, running

KEY = "sk-secret"
ROTATE_TWICE = {
    "why": "Turned twice.",
    "format": "webp",
    "steps": [
        {"id": "1", "edit": {"rotate": {"angle": 90}}, "inputs": [{"goal_image": 0}], "reason": "Turns it."},
        {"id": "2", "edit": {"rotate": {"angle": 90}}, "inputs": [{"step_id": "1"}], "reason": "Again."},
    ],
}
DRAWN_BEHIND = {
    "why": "A beach is drawn.",
    "steps": [
        {"id": "1", "generate": {"prompt": "a beach"}, "inputs": [], "reason": "Draws it."},
        {
            "id": "2",
            "edit": {"replace_background": {"image": {}}},
            "inputs": [{"goal_image": 0}, {"step_id": "1"}],
            "reason": "Lays it behind.",
        },
    ],
}
Answer = tuple[int, str]


def says(content: object, **more: Any) -> Answer:
    """A chat completion that says this."""
    text = content if isinstance(content, str) else json.dumps(content)
    message = {"role": "assistant", "content": text, **more.pop("message", {})}
    return 200, json.dumps(
        {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop", **more}]}
    )


class Stub:
    """Answers in turn; keeps what was asked."""

    def __init__(self, answers: list[Answer | None]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := (await reader.readline()).decode().strip():
                headers = {}
                while header := (await reader.readline()).decode().strip():
                    name, _, value = header.partition(": ")
                    headers[name.lower()] = value
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.asked.append((line, headers, body))
                answer = self.answers.pop(0)
                if answer is None:
                    await reader.read()  # silent until the caller has gone
                    return
                status, content = answer
                length = f"content-length: {len(content.encode())}"
                head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
                writer.write((head + content).encode())
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def stubbed(*answers: Answer | None, **settings: Any) -> AsyncIterator[tuple[Any, Stub]]:
    stub = Stub(list(answers))
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    stub.port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{stub.port}/v1"
    async with server, running(llm_url=url, llm_model="toy", llm_key=KEY, **settings) as house:
        yield house, stub


async def test_its_plan_is_a_plan_like_any_other() -> None:
    async with stubbed(says(ROTATE_TWICE), says(DRAWN_BEHIND)) as (house, stub):
        events = await house.goal("turn it around", picture(50))
        plan, done = events[0].plan, events[-1].completed
        assert [step.operation for step in plan.steps] == ["rotate", "rotate"] and plan.route == v1.ROUTE_EDIT
        assert plan.digest == done.plan_digest and "A language model" in plan.why and "Turned twice." in plan.why
        assert grey_of(done.images[0]) == 52 and done.images[0].format == image_pb2.IMAGE_FORMAT_WEBP
        chained = (await house.goal("a beach behind it", picture(50), seed=5))[0].plan
        assert chained.route == v1.ROUTE_CHAIN and chained.steps[0].generate.seed == 5
        line, headers, body = stub.asked[0]
        assert line.startswith("POST /v1/chat/completions ") and headers["authorization"] == f"Bearer {KEY}"
        assert body["model"] == "toy" and body["response_format"]["type"] == "json_schema"
        assert "turn it around" in body["messages"][-1]["content"] and KEY not in json.dumps(body)


async def test_its_question_is_asked_with_plans_as_answers() -> None:
    answer = {"why": "Two ways.", "question": "Which way?", "options": [
        {"label": "Left", "steps": ROTATE_TWICE["steps"][:1]}, {"label": "Around", "steps": ROTATE_TWICE["steps"]},
    ]}  # fmt: skip
    async with stubbed(says(answer)) as (house, _):
        plan = (await house.goal("turn it"))[0].plan
        assert plan.route == v1.ROUTE_CLARIFY and plan.clarification.question == "Which way?"
        assert [(one.label, one.needs_image) for one in plan.clarification.options] == [
            ("Left", True),
            ("Around", True),
        ]
        assert not house.toys.calls
        assert grey_of((await house.run(plan.clarification.options[1].plan, picture(50))).images[0]) == 52


async def test_a_plan_with_faults_is_sent_back_once() -> None:
    bad = {"why": "", "steps": [{**ROTATE_TWICE["steps"][1], "id": "1"}]}
    async with stubbed(says(bad), says(ROTATE_TWICE)) as (house, stub):
        assert len((await house.plan("turn it", assumed_images=1)).steps) == 2
        assert "does not stand earlier in the plan" in stub.asked[1][2]["messages"][-1]["content"]


def step(**fields: Any) -> dict[str, Any]:
    return {"why": "", "steps": [{"id": "1", "inputs": [{"goal_image": 0}], "reason": "", **fields}]}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, "oops"), "answered with HTTP 500"),
        ((401, json.dumps({"error": {"message": f"bad key {KEY}"}})), "answered with HTTP 401"),
        ((302, ""), "answered with HTTP 302"),
        ((200, "<html>"), "no chat completion"),
        ((200, '{"choices": []}'), "no chat completion"),
        (says("not json"), "not JSON"),
        (says("[1]"), "no object"),
        (says({"why": "nothing"}), "neither steps nor a question"),
        (says({"question": "?", "options": []}), "two to four answers"),
        (says(step(edit={"melt": {}})), "do not read"),
        (says(step(edit={"rotate": {"angle": "NaNs"}})), "do not read"),
        (says(step(edit={"composite": {}})), "cannot run"),
        (says(step(edit={"rotate": {}}, inputs=[{"goal_image": 5}])), "cannot run"),
        (says(step(edit={"rotate": {}}, inputs=[{"stored_sha256": "0" * 64}])), "cannot run"),
        (says(step(edit={"upscale": {"content": 77}})), "cannot run"),
        (says(ROTATE_TWICE, finish_reason="length"), "cut off"),
        (says("", message={"refusal": "no"}), "refused"),
        (says(None, message={"content": None}), "without text"),
        (says("x" * 2_000_000), "more than"),
    ],
)
async def test_what_cannot_be_used_falls_back_with_the_reason(
    answer: Answer, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with stubbed(answer, answer) as (house, _):
            plan = await house.plan("enhance", assumed_images=1)
    assert [one.operation for one in plan.steps] == ["enhance"]
    assert "The built-in planner made it, because the language model" in plan.why and reason in plan.why
    assert KEY not in plan.why and KEY not in caplog.text


async def test_a_model_that_is_slow_or_down_is_not_waited_for() -> None:
    async with stubbed(None, llm_seconds=0.3) as (house, _):
        assert "did not answer within 0.3 s" in (await house.plan("enhance", assumed_images=1)).why
    down: Callable[[], Any] = lambda: running(llm_url="http://127.0.0.1:9/v1", llm_model="toy")  # noqa: E731
    async with down() as house:
        assert "could not be asked (ConnectError)" in (await house.plan("enhance", assumed_images=1)).why


async def test_off_by_default() -> None:
    async with running() as house:
        assert "language model" not in (await house.plan("enhance", assumed_images=1)).why
