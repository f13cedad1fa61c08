"""The streams of services, heard to their end and made into results."""

from collections.abc import AsyncIterable, Sequence

from diptych.errors import ClarificationNeeded, InternalError
from diptych.events import OnEvent, PlanMade, StepFinished, StepPreview, StepProgress, StepStarted, event_from_message
from diptych.findings import AnalyzeResult
from diptych.plans import Plan
from diptych.types import CreateResult, EditResult, Film, GenerateResult, Marking, Outcome, Picture, Record
from diptych.v1 import editor_pb2, generator_pb2, image_pb2, orchestrator_pb2


async def collect_goal(
    responses: AsyncIterable[orchestrator_pb2.RunGoalResponse] | AsyncIterable[orchestrator_pb2.RunPlanResponse],
    on_event: OnEvent | None,
) -> CreateResult:
    """What came of a goal. ClarificationNeeded when it ended in a question."""
    plan: Plan | None = None
    completed: orchestrator_pb2.GoalCompleted | None = None
    findings: dict[str, AnalyzeResult] = {}
    async for response in responses:
        event = event_from_message(response.event)
        if isinstance(event, PlanMade):
            plan = event.plan
        if response.event.WhichOneof("event") == "completed":
            completed = response.event.completed
        done = response.event.step_completed
        if done.HasField("analysis"):
            findings[done.step_id] = AnalyzeResult.from_message(done.analysis, done.records[0])
        if event is not None and on_event is not None:
            on_event(event)
    if plan is not None and plan.clarification is not None:
        asked = plan.clarification
        raise ClarificationNeeded(asked.question, [option.label for option in asked.options])
    if plan is None or completed is None:
        raise InternalError("the orchestrator ended the goal without a result")
    return CreateResult(
        tuple(Picture.from_message(image) for image in completed.images),
        tuple(Film.from_message(video) for video in completed.videos),
        tuple(Record.from_message(record) for record in completed.records),
        Marking.from_message(completed.marking),
        plan,
        completed.timing.total.ToNanoseconds() / 1e9,
        completed.timing.compute.ToNanoseconds() / 1e9,
        tuple(Outcome.from_message(outcome) for outcome in completed.outcomes),
        findings,
    )


async def collect_generation(
    responses: AsyncIterable[generator_pb2.StreamGenerateImageResponse], hear: OnEvent
) -> GenerateResult:
    """The pictures of one prompt."""
    images: list[generator_pb2.GeneratedImage] = []
    steps: dict[int, int] = {}
    several = 1
    async for response in responses:
        match response.WhichOneof("event"):
            case "accepted":
                several = max(1, response.accepted.resolved.num_images)
                hear(StepStarted("1", "generator", "generate"))
            case "progress":
                now = response.progress
                steps[now.index] = now.step
                words = f"step {now.step} of {now.num_steps}"
                words = words if several == 1 else f"picture {now.index + 1}: {words}"
                hear(StepProgress("1", sum(steps.values()) / max(1, now.num_steps * several), words))
            case "preview":
                hear(StepPreview("1", Picture.from_message(response.preview.image)))
            case "image":
                images.append(response.image)
            case "completed":
                result = GenerateResult.from_messages(images, response.completed)
                hear(StepFinished("1", (result.record,)))
                return result
    raise InternalError("the generator ended the stream without a result")


async def collect_edit(
    responses: AsyncIterable[editor_pb2.StreamEditImageResponse], names: Sequence[str], on_event: OnEvent | None
) -> EditResult:
    """The edited picture, with its records."""
    hear = on_event or _ignore
    image: image_pb2.Image | None = None
    records: list[Record] = []

    def begin_next() -> None:
        if len(records) < len(names):
            hear(StepStarted(str(len(records) + 1), "editor", names[len(records)]))

    async for response in responses:
        match response.WhichOneof("event"):
            case "accepted":
                begin_next()
            case "progress":
                now = response.progress
                hear(StepProgress(str(now.operation_index + 1), now.fraction, ""))
            case "step":
                records.append(Record.from_message(response.step))
                hear(StepFinished(str(len(records)), (records[-1],)))
                begin_next()
            case "image":
                image = response.image
            case "completed" if image is not None:
                marking = Marking.from_message(response.completed.marking)
                return EditResult((Picture.from_message(image),), tuple(records), marking)
    raise InternalError("the editor ended the stream without a result")


def _ignore(_: object) -> None:
    """Nobody listens."""
