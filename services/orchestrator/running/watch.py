"""What callers see of one plan step: begun once, progress that never goes back, ended once."""

from collections.abc import Awaitable, Callable

from google.rpc import status_pb2

from diptych.v1 import editor_pb2, image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.plan import operation_of, service_of

Emit = Callable[[v1.GoalEvent], Awaitable[None]]


class StepWatch:
    """Joins what `parts` calls tell of one step (several when it treats several pictures) into its events."""

    def __init__(self, step: v1.PlanStep, parts: int, emit: Emit) -> None:
        self.step = step
        self.records: list[image_pb2.StepRecord] = []
        self._fractions = [0.0] * parts
        self._ended: dict[int, image_pb2.StepRecord] = {}
        self._analysis: editor_pb2.Analysis | None = None
        self._skipped: dict[int, str] = {}
        self._begun = False
        self._emit = emit

    async def progress(self, part: int, fraction: float, message: str = "") -> None:
        """Tells how far one part is, 0 to 1."""
        await self.begin()
        self._fractions[part] = max(self._fractions[part], min(fraction, 1.0))
        mean = sum(self._fractions) / len(self._fractions)
        event = v1.StepProgress(step_id=self.step.id, fraction=mean, message=message)
        await self._emit(v1.GoalEvent(progress=event))

    async def preview(self, image: image_pb2.Image) -> None:
        """Passes a preview on."""
        await self.begin()
        await self._emit(v1.GoalEvent(preview=v1.StepPreview(step_id=self.step.id, image=image)))

    async def end(self, part: int, record: image_pb2.StepRecord, analysis: editor_pb2.Analysis | None = None) -> None:
        """Takes the record of one part; the step is over with the last."""
        await self.begin()
        record.step_id = self.step.id
        self._ended[part] = record
        self._analysis = analysis or self._analysis
        if len(self._ended) < len(self._fractions):
            return
        self.records = [self._ended[number] for number in sorted(self._ended)]
        event = v1.StepCompleted(step_id=self.step.id, records=self.records, analysis=self._analysis)
        if len(self._skipped) == len(self._fractions):
            event.skipped = self._skipped[0]
        await self._emit(v1.GoalEvent(step_completed=event))

    async def fail(self, failure: status_pb2.Status) -> None:
        """Tells that the step has failed, where other results are kept."""
        await self.begin()
        event = v1.StepCompleted(step_id=self.step.id, failure=failure)
        await self._emit(v1.GoalEvent(step_completed=event))

    def skip(self, part: int, why: str) -> None:
        """Notes that one part is passed on unchanged."""
        self._skipped[part] = why

    def record_of(self, part: int) -> image_pb2.StepRecord:
        """The record of a part that is over."""
        return self._ended[part]

    def has_ended(self, part: int) -> bool:
        """Whether one part is over."""
        return part in self._ended

    async def begin(self) -> None:
        """Tells that work on the step has begun; again and again does nothing."""
        if self._begun:
            return
        self._begun = True
        service, operation = service_of(self.step), operation_of(self.step)
        event = v1.StepStarted(step_id=self.step.id, service=service, operation=operation)
        await self._emit(v1.GoalEvent(step_started=event))
