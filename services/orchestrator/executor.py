"""Runs a plan: every step as soon as what it takes is there, independent ones at the same time.

Pictures go from service to service as raw rows and are never decoded here; the last steps write the asked format.
Leaving the stream of events, by an error or because the caller went away, cancels every call under way.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration

from diptych.client import AsyncClient
from diptych.errors import FailedPrecondition
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.busy import busy_seconds
from services.orchestrator.grouping import Call, calls_of
from services.orchestrator.marking import marking_verdict
from services.orchestrator.peers import Given, Made, Order, Peers
from services.orchestrator.plan import last_steps, makes_picture
from services.orchestrator.watch import StepWatch

# A slow reader holds the steps up before its unread events fill the memory.
_MOST_UNREAD_EVENTS = 64
T = TypeVar("T")
_RAW = image_pb2.OutputOptions(format=image_pb2.IMAGE_FORMAT_RAW)


class Executor:
    """Runs plans on the services that `client` knows, at most `parallel_calls` calls of one plan at a time."""

    def __init__(self, client: AsyncClient, *, parallel_calls: int = 4) -> None:
        self._peers = Peers(client)
        self._parallel_calls = parallel_calls

    async def run(
        self,
        plan: v1.Plan,
        images: Sequence[image_pb2.Image],
        *,
        images_field: str = "images",
        preview_interval: int = 0,
        deadline: float | None = None,
        started: float | None = None,
    ) -> AsyncGenerator[v1.GoalEvent, None]:
        """The events of a plan without faults, in the order that RunGoal promises; a step's error ends them.

        `images_field`: where the caller gave the images, for errors. `deadline`, `started`: monotonic seconds.
        """
        yield v1.GoalEvent(plan=plan)
        events: asyncio.Queue[v1.GoalEvent] = asyncio.Queue(_MOST_UNREAD_EVENTS)
        given = [Given(image, f"{images_field}[{index}].image") for index, image in enumerate(images)]
        run = _Run(
            plan, given, self._peers, events, asyncio.Semaphore(self._parallel_calls), preview_interval, deadline
        )
        task = asyncio.create_task(run.all_calls())
        try:
            while (event := await _next(events, task)) is not None:
                yield event
        finally:
            task.cancel()
            await asyncio.wait([task])
        yield v1.GoalEvent(completed=run.completed(time.monotonic() if started is None else started))


async def _next(events: asyncio.Queue[v1.GoalEvent], task: asyncio.Task[None]) -> v1.GoalEvent | None:
    """The next event; None after the last. Raises what ended the task."""
    if events.empty() and not task.done():
        getter = asyncio.ensure_future(events.get())
        try:
            await asyncio.wait({getter, task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not getter.done():
                getter.cancel()
        if getter.done() and not getter.cancelled():
            return getter.result()
    with suppress(asyncio.QueueEmpty):
        return events.get_nowait()
    await task
    return None


class _Run:
    """One plan on its way."""

    def __init__(
        self,
        plan: v1.Plan,
        given: Sequence[Given],
        peers: Peers,
        events: asyncio.Queue[v1.GoalEvent],
        room: asyncio.Semaphore,
        preview_interval: int,
        deadline: float | None,
    ) -> None:
        self._plan = plan
        self._given = given
        self._peers = peers
        self._emit = events.put
        self._room = room
        self._preview_interval = preview_interval
        self._deadline = deadline
        self._last = {step.id for step in last_steps(plan.steps)}
        self._calls = calls_of(plan.steps)
        loop = asyncio.get_running_loop()
        self._made: dict[str, asyncio.Future[list[Made]]] = {call.last.id: loop.create_future() for call in self._calls}
        self._watches: dict[str, StepWatch] = {}
        self._spans: list[tuple[float, float]] = []

    async def all_calls(self) -> None:
        """Runs every call; the first failure ends the others."""
        await _together(self._call(call) for call in self._calls)

    def completed(self, started: float) -> v1.GoalCompleted:
        """The last event, once all calls are done."""
        results = [made for step_id in self._made if step_id in self._last for made in self._made[step_id].result()]
        records = [record for step in self._plan.steps for record in self._watches[step.id].records]
        done = v1.GoalCompleted(records=records, plan_digest=self._plan.digest)
        done.images.extend(image for made in results for image in made.pictures)
        done.videos.extend(video for made in results for video in made.videos)
        if done.images or done.videos:
            done.marking.CopyFrom(marking_verdict(records, shows_input=self._shows_input()))
        total = time.monotonic() - started
        done.timing.queue.FromNanoseconds(sum(record.timing.queue.ToNanoseconds() for record in records))
        _set_seconds(done.timing.compute, min(busy_seconds(self._spans), total))
        _set_seconds(done.timing.total, total)
        return done

    def _shows_input(self) -> bool:
        return any(
            taken.WhichOneof("source") == "goal_image"
            for step in self._plan.steps
            if makes_picture(step) or step.HasField("animate_image")
            for taken in step.inputs
        )

    async def _call(self, call: Call) -> None:
        pictures = [await self._pictures(step, first=index == 0) for index, step in enumerate(call.steps)]
        parts = _parts(call, pictures)
        watches = [StepWatch(step, len(parts), self._emit) for step in call.steps]
        self._watches.update((watch.step.id, watch) for watch in watches)
        made = await _together(self._part(watches, part, number) for number, part in enumerate(parts))
        self._made[call.last.id].set_result(made)

    async def _part(self, watches: Sequence[StepWatch], pictures: Sequence[Sequence[Given]], number: int) -> Made:
        output = self._plan.output if watches[-1].step.id in self._last else _RAW
        order = Order(watches, pictures, number, output, self._preview_interval, self._deadline)
        async with self._room:
            made = await self._peers.act(order)
        ended = time.monotonic()
        self._spans.append((ended - made.own_seconds, ended))
        return made

    async def _pictures(self, step: v1.PlanStep, *, first: bool) -> list[list[Given]]:
        """For each input of the step that comes from outside its call, the pictures there are."""
        columns = []
        for taken in step.inputs if first else step.inputs[1:]:
            if taken.WhichOneof("source") == "goal_image":
                columns.append([self._given[taken.goal_image]])
            else:
                made = await asyncio.shield(self._made[taken.step_id])
                columns.append([Given(image) for one in made for image in one.pictures])
        return columns


async def _together(coroutines: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """The results of all, in order; the first failure cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _parts(call: Call, pictures: Sequence[Sequence[Sequence[Given]]]) -> list[list[list[Given]]]:
    """One entry for each picture to treat. A step that takes several treats each; a single one goes with all."""
    counts = {len(column) for columns in pictures for column in columns}
    if 0 in counts:
        raise FailedPrecondition(f"step {call.steps[0].id!r} takes a picture that was not made", reason="NO_PICTURE")
    if len(counts - {1}) > 1:
        several = " and ".join(str(count) for count in sorted(counts - {1}))
        raise FailedPrecondition(
            f"step {call.steps[0].id!r} takes {several} pictures; give it as many of the one as of the other",
            reason="PICTURES_DO_NOT_PAIR",
        )
    return [
        [[column[number if len(column) > 1 else 0] for column in columns] for columns in pictures]
        for number in range(max(counts, default=1))
    ]


def _set_seconds(duration: Duration, seconds: float) -> None:
    duration.FromNanoseconds(round(seconds * 1e9))
