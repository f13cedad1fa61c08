"""One plan on its way: every step as soon as what it takes is there, independent ones at the same time.

Where several of the goal's pictures are treated each on its own, the failure of one leaves the others.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration

from diptych.errors import Cancelled, DiptychError, FailedPrecondition, to_status
from diptych.v1 import editor_pb2, image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.conditions import unmet
from services.orchestrator.planning.grouping import Call, calls_of
from services.orchestrator.planning.plan import last_steps, makes_picture
from services.orchestrator.planning.timing import CallTimed
from services.orchestrator.running.busy import busy_seconds
from services.orchestrator.running.marking import marking_verdict
from services.orchestrator.running.outcomes import origins, outcomes
from services.orchestrator.running.peers import Given, Made, Order, Peers
from services.orchestrator.running.watch import StepWatch

T = TypeVar("T")
Emit = Callable[[v1.GoalEvent], Awaitable[None]]
_RAW = image_pb2.OutputOptions(format=image_pb2.IMAGE_FORMAT_RAW)


@dataclass(frozen=True)
class Job:
    """What is to be run. `stored`: pictures that the server keeps, by their sha256."""

    plan: v1.Plan
    images: Sequence[Given]
    stored: Mapping[str, Given] = field(default_factory=dict)
    preview_interval: int = 0
    deadline: float | None = None


class PlanRun:
    """The calls of one plan, and what they gave."""

    def __init__(
        self, job: Job, peers: Peers, emit: Emit, room: asyncio.Semaphore, timed: Callable[[CallTimed], None]
    ) -> None:
        self._job = job
        self._plan = job.plan
        self._peers = peers
        self._emit = emit
        self._room = room
        self._timed = timed
        self._last = {step.id for step in last_steps(job.plan.steps)}
        self._ends = origins(job.plan.steps)
        self._calls = calls_of(job.plan.steps)
        loop = asyncio.get_running_loop()
        self._made: dict[str, asyncio.Future[list[Made] | DiptychError]] = {
            call.last.id: loop.create_future() for call in self._calls
        }
        self._watches: dict[str, StepWatch] = {}
        self._spans: list[tuple[float, float]] = []

    async def all_calls(self) -> None:
        """Runs every call; the first failure ends the others, unless some pictures are still to come of them."""
        await _together(self._kept(call) if self._ends else self._call(call) for call in self._calls)
        failures = [result for result in map(self._result, self._ends) if isinstance(result, DiptychError)]
        if failures and len(failures) == len(self._ends):
            raise failures[0]

    def completed(self, started: float) -> v1.GoalCompleted:
        """The last event, once all calls are done."""
        ends = [step_id for step_id in self._made if step_id in self._last]
        results = {step_id: self._result(step_id) for step_id in ends}
        good = [made for result in results.values() if not isinstance(result, DiptychError) for made in result]
        records = [
            record for step in self._plan.steps if step.id in self._watches for record in self._watches[step.id].records
        ]
        done = v1.GoalCompleted(records=records, plan_digest=self._plan.digest)
        done.images.extend(image for made in good for image in made.pictures)
        done.videos.extend(video for made in good for video in made.videos)
        if done.images or done.videos:
            done.marking.CopyFrom(marking_verdict(records, self._shown()))
        if self._ends:
            done.outcomes.extend(outcomes({step_id: self._ends[step_id] for step_id in ends}, results))
        total = time.monotonic() - started
        done.timing.queue.FromNanoseconds(sum(record.timing.queue.ToNanoseconds() for record in records))
        _set_seconds(done.timing.compute, min(busy_seconds(self._spans), total))
        _set_seconds(done.timing.total, total)
        return done

    def _result(self, step_id: str) -> list[Made] | DiptychError:
        return self._made[step_id].result()

    def _shown(self) -> list[image_pb2.Marking.ValueType]:
        """How the pictures are labelled that pixels of the results can come from."""
        shown = [
            self._job.stored[taken.stored_sha256].marking
            if taken.WhichOneof("source") == "stored_sha256"
            else image_pb2.MARKING_STANDARD_EDIT
            for step in self._plan.steps
            if makes_picture(step) or step.HasField("animate_image")
            for taken in step.inputs
            if taken.WhichOneof("source") != "step_id"
        ]
        return shown

    async def _kept(self, call: Call) -> None:
        """A call whose failure is told to those who wait for it instead of ending the plan."""
        try:
            await self._call(call)
        except Cancelled:
            raise
        except DiptychError as error:
            self._made[call.last.id].set_result(error)
            watch = self._watches.get(error.metadata.get("step_id", ""))
            if watch is not None and watch.step in call.steps:
                await watch.fail(to_status(error))

    async def _call(self, call: Call) -> None:
        pictures = [await self._pictures(step, first=index == 0) for index, step in enumerate(call.steps)]
        looked_at = {one.step_id for step in call.steps for one in step.only_if}
        looks = {step_id: await self._what_came_of(step_id) for step_id in sorted(looked_at)}
        parts = _parts(call, pictures)
        watches = [StepWatch(step, len(parts), self._emit) for step in call.steps]
        self._watches.update((watch.step.id, watch) for watch in watches)
        made = await _together(self._part(watches, part, number, looks) for number, part in enumerate(parts))
        self._made[call.last.id].set_result(made)

    async def _part(
        self,
        watches: Sequence[StepWatch],
        pictures: Sequence[Sequence[Given]],
        number: int,
        looks: Mapping[str, list[Made]],
    ) -> Made:
        steps = [watch.step for watch in watches]
        passed_on = set()
        for index, watch in enumerate(watches):
            findings = {one.step_id: _findings(looks[one.step_id], number) for one in watch.step.only_if}
            if why := unmet(watch.step.only_if, findings):
                passed_on.add(index)
                watch.skip(number, why)
        output = self._plan.output if steps[-1].id in self._last else _RAW
        order = Order(
            watches, pictures, number, output, self._job.preview_interval, self._job.deadline, frozenset(passed_on)
        )
        async with self._room:
            began = time.monotonic()
            made = await self._peers.act(order)
        ended = time.monotonic()
        self._spans.append((ended - made.own_seconds, ended))
        if not passed_on:
            given = [one.image for columns in pictures for one in columns]
            records = [watch.record_of(number) for watch in watches]
            self._timed(CallTimed(tuple(steps), given, records, output.format, ended - began))
        return made

    async def _pictures(self, step: v1.PlanStep, *, first: bool) -> list[list[Given]]:
        """For each input of the step that comes from outside its call, the pictures there are."""
        columns = []
        for taken in step.inputs if first else step.inputs[1:]:
            source = taken.WhichOneof("source")
            if source == "goal_image":
                columns.append([self._job.images[taken.goal_image]])
            elif source == "stored_sha256":
                columns.append([self._job.stored[taken.stored_sha256]])
            else:
                made = await self._what_came_of(taken.step_id)
                columns.append([Given(image) for one in made for image in one.pictures])
        return columns

    async def _what_came_of(self, step_id: str) -> list[Made]:
        """What a step made, once it is there; raises what it failed with."""
        result = await asyncio.shield(self._made[step_id])
        if isinstance(result, DiptychError):
            raise result
        return result


async def _together(coroutines: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """The results of all, in order; the first failure cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _findings(looks: Sequence[Made], number: int) -> editor_pb2.Analysis:
    """What was found in one of the pictures; a single look goes for all."""
    found = looks[number if len(looks) > 1 else 0].analysis
    return found if found is not None else editor_pb2.Analysis()


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
