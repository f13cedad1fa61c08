"""How long a plan will take: each step from what its like took before, the whole along its slowest path."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO

from google.protobuf.duration_pb2 import Duration
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.memory.history import History
from services.orchestrator.planning.grouping import Call, calls_of
from services.orchestrator.planning.plan import last_steps, makes_picture, service_of, taken_steps
from services.orchestrator.planning.timing import CallTimed, Size, amount_of, kind_of, megapixels, size_after

_EVERY = 1e-4  # seconds below which nothing is told apart


def size_of(image: image_pb2.Image) -> Size | None:
    """Width and height, from the message or the head of the file, undecoded; None when it does not say."""
    if image.width and image.height:
        return image.width, image.height
    try:
        with PillowImage.open(BytesIO(image.content)) as opened:
            return opened.size
    except (UnidentifiedImageError, OSError, ValueError, PillowImage.DecompressionBombError):
        return None


class Estimator:
    """Learns from calls that were made, and fills in what plans will take."""

    def __init__(self, history: History) -> None:
        self._history = history

    def save(self) -> None:
        """Writes to disk what was learnt; belongs on the store's thread."""
        self._history.save()

    def learn(self, call: CallTimed) -> None:
        """Takes the times of one call: of each step as its record says, and of what the call took beside them."""
        size = size_of(call.given[0]) if call.given else None
        came, worked = size, 0.0
        for step, record in zip(call.steps, call.records, strict=True):
            timing = record.timing
            seconds = max((timing.total.ToNanoseconds() - timing.queue.ToNanoseconds()) / 1e9, _EVERY)
            worked += timing.total.ToNanoseconds() / 1e9
            went = (record.width, record.height)
            self._history.add(kind_of(step), amount_of(step, size), seconds, went)
            size = went if all(went) else size
        beside = max(call.seconds - worked, _EVERY)
        self._history.add(_way(call.steps[0], call.output), megapixels(came) + megapixels(size), beside)

    def fill(
        self, plan: v1.Plan, sizes: Sequence[Size | None], stored: Mapping[str, Size | None] | None = None
    ) -> None:
        """Writes what each step and the whole will take, where there is history; `sizes`: of the goal's pictures."""
        last = {step.id for step in last_steps(plan.steps)}
        made: dict[str, Size | None] = {}
        ready: dict[str, float] = {}
        known = bool(plan.steps)

        def arrives(taken: v1.StepInput) -> Size | None:
            source = taken.WhichOneof("source")
            if source == "step_id":
                return made.get(taken.step_id)
            if source == "stored_sha256":
                return (stored or {}).get(taken.stored_sha256)
            return sizes[taken.goal_image] if taken.goal_image < len(sizes) else None

        for call in calls_of(plan.steps):
            first = call.steps[0]
            size = came = arrives(first.inputs[0]) if first.inputs else None
            for step in call.steps:
                seconds = self._history.seconds(kind_of(step), amount_of(step, size))
                known = known and seconds is not None
                _set(step.estimated, seconds)
                size = self._history.size(kind_of(step)) if not first.inputs or size is None else size_after(step, size)
                made[step.id] = size if makes_picture(step) else None
            output = plan.output.format if call.last.id in last else image_pb2.IMAGE_FORMAT_RAW
            way = self._history.seconds(_way(first, output), megapixels(came) + megapixels(size)) or 0.0
            began = max((ready[step_id] for step_id in _waits_for(call)), default=0.0)
            took = sum(step.estimated.ToNanoseconds() / 1e9 for step in call.steps)
            ready.update(dict.fromkeys((step.id for step in call.steps), began + way + took))
        if known:
            _set(plan.estimated, max(ready.values()))


def every_plan(plan: v1.Plan, act: Callable[[v1.Plan], None]) -> None:
    """Does something to a plan, or to each that its question offers."""
    for one in [option.plan for option in plan.clarification.options] or [plan]:
        act(one)


def _waits_for(call: Call) -> Iterable[str]:
    inside = {step.id for step in call.steps}
    needed = {step_id for step in call.steps for step_id in taken_steps(step)}
    needed |= {condition.step_id for step in call.steps for condition in step.only_if}
    return needed - inside


def _way(step: v1.PlanStep, output: image_pb2.ImageFormat.ValueType) -> str:
    return f"way/{service_of(step)}/{image_pb2.ImageFormat.Name(output)}"


def _set(duration: Duration, seconds: float | None) -> None:
    if seconds is not None:
        duration.FromNanoseconds(round(seconds * 1e9))
