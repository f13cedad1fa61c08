"""Many goals at once: a line of JSON in, a line of JSON out, in order.

In: {"id": anything, "text": "...", "has_image": true}. Out: {"id", "route", "operations", "slots", "confidence"}, the
route and the operations being what the goal asks for.
"""

import asyncio
import json
import re
import sys
import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass

from diptych.cli.failures import write_line
from diptych.client import AsyncClient
from diptych.errors import InvalidRequest
from diptych.plans import Plan

# Calls under way at once. A plan takes milliseconds, so a few keep the planner busy.
_WINDOW = 8
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)\.\d+")


@dataclass(frozen=True)
class Line:
    """One goal. `id` is given back as it came."""

    id: object
    text: str
    has_image: bool


def read_line(raw: bytes) -> Line:
    """The goal in a line. InvalidRequest says what is wrong with it."""
    try:
        fields = json.loads(raw)
    except ValueError as error:
        raise InvalidRequest.single("line", f"is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidRequest.single("line", 'must be an object such as {"id": 1, "text": "...", "has_image": false}')
    text, has_image = fields.get("text"), fields.get("has_image", False)
    if "id" not in fields:
        raise InvalidRequest.single("id", "is missing")
    if not isinstance(text, str) or not text.strip():
        raise InvalidRequest.single("text", "must be a sentence")
    if not isinstance(has_image, bool):
        raise InvalidRequest.single("has_image", "must be true or false")
    return Line(fields["id"], text, has_image)


def write_plan(line: Line, plan: Plan) -> str:
    """The line of JSON for a plan."""
    return json.dumps(
        {
            "id": line.id,
            "route": plan.reading.route,
            "operations": list(plan.reading.operations),
            "slots": {name: _value(text) for name, text in sorted(plan.slots.items())},
            "confidence": round(plan.confidence, 6),
        },
        ensure_ascii=False,
    )


async def plan_lines(client: AsyncClient, *, timeout: float | None) -> bool:
    """Plans every line of stdin onto stdout. False when some were bad; those have a line on stderr instead."""
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=_WINDOW)
    window: asyncio.Queue[tuple[int, asyncio.Task[str]] | None] = asyncio.Queue(maxsize=_WINDOW)
    tasks: set[asyncio.Task[str]] = set()
    _read_in_thread(sys.stdin.fileno(), lines)

    async def plan_one(raw: bytes) -> str:
        line = read_line(raw)
        return write_plan(line, await client.plan(line.text, assumed_images=int(line.has_image), timeout=timeout))

    async def start() -> None:
        number = 0
        while (raw := await lines.get()) is not None:
            number += 1
            if raw.strip():
                task = asyncio.create_task(plan_one(raw))
                tasks.add(task)
                await window.put((number, task))
        await window.put(None)

    async def write() -> bool:
        good = True
        while (entry := await window.get()) is not None:
            number, task = entry
            tasks.discard(task)
            try:
                print(await task, flush=True)
            except InvalidRequest as error:
                good = False
                write_line(f"line {number}: {error.message}")
        return good

    starter = asyncio.create_task(start())
    try:
        return await write()
    finally:
        for left in (starter, *tasks):
            left.cancel()
        await asyncio.gather(starter, *tasks, return_exceptions=True)


def _read_in_thread(descriptor: int, lines: "asyncio.Queue[bytes | None]") -> None:
    """Feeds the queue. A daemon thread, because a blocked read of a terminal cannot be cancelled."""
    loop = asyncio.get_running_loop()

    def feed(raw: bytes | None) -> bool:
        put = lines.put(raw)
        try:
            asyncio.run_coroutine_threadsafe(put, loop).result()
        except (RuntimeError, CancelledError):
            # The loop has ended while a line was awaited: nobody wants it any more.
            put.close()
            return False
        return True

    def read() -> None:
        # A reader of its own: Python locks sys.stdin's at its end, and aborts where a thread still reads from it.
        with open(descriptor, "rb", closefd=False) as source:
            if all(feed(raw) for raw in source):
                feed(None)

    threading.Thread(target=read, name="diptych-stdin", daemon=True).start()


def _value(text: str) -> str | int | float:
    """Numbers as numbers: slots travel as text."""
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
