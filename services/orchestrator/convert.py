"""Requests as the orchestrator works with them: every fault found at once, each named by its path."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from diptych.errors import FieldViolation, InvalidRequest, Unsupported
from diptych.images import output_faults
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning.enums import unknown_enums
from services.orchestrator.planning.plan import seal
from services.orchestrator.planning.plan_faults import plan_faults
from services.orchestrator.planning.profile_words import named
from services.orchestrator.planning.profiles import Profile, unknown_profile

MAX_GOAL_BYTES = 8192
MAX_IMAGES = 16
MAX_PREVIEW_INTERVAL = 200
MAX_CONVERSATION_BYTES = 128

Profiles = Mapping[str, Profile]
_NO_PROFILES: Profiles = MappingProxyType({})


@dataclass(frozen=True)
class AskedGoal:
    """A goal without faults. `images`: what is attached; empty when pictures are only assumed.

    `wish`: its words but for those that name a profile; `unknown_profile`: one that they name and that there is not.
    """

    text: str
    num_images: int
    images: tuple[image_pb2.Image, ...]
    output: image_pb2.OutputOptions
    preview_interval: int = 0
    seed: int | None = None
    conversation: str = ""
    profile: Profile | None = None
    wish: str = ""
    unknown_profile: str = ""


@dataclass(frozen=True)
class AskedPlan:
    """A plan without faults, sealed, and its pictures."""

    plan: v1.Plan
    images: tuple[image_pb2.Image, ...]
    preview_interval: int
    conversation: str = ""


def goal_to_plan(request: v1.PlanGoalRequest, max_image_bytes: int, profiles: Profiles = _NO_PROFILES) -> AskedGoal:
    """What PlanGoal asks. InvalidRequest with every fault, Unsupported for what is not served yet."""
    faults = [*_goal_faults(request.goal, max_image_bytes, profiles), *unknown_enums(request)]
    num_images = len(request.goal.images)
    if request.HasField("assumed_images"):
        if request.goal.images:
            why = "leave it out when pictures are attached; they are counted"
            faults.append(FieldViolation("assumed_images", why))
        if request.assumed_images > MAX_IMAGES:
            faults.append(FieldViolation("assumed_images", f"{request.assumed_images}; at most {MAX_IMAGES}"))
        num_images = request.assumed_images
    return _goal(request.goal, faults, num_images, profiles)


def goal_to_run(request: v1.RunGoalRequest, max_image_bytes: int, profiles: Profiles = _NO_PROFILES) -> AskedGoal:
    """What RunGoal asks. InvalidRequest with every fault, Unsupported for what is not served yet."""
    faults = [*_goal_faults(request.goal, max_image_bytes, profiles), *unknown_enums(request)]
    faults += _interval_faults(request.preview_interval)
    asked = _goal(request.goal, faults, len(request.goal.images), profiles, request.preview_interval)
    _refuse_key(request.idempotency_key)
    return asked


def plan_to_run(request: v1.RunPlanRequest, max_image_bytes: int) -> AskedPlan:
    """What RunPlan asks. InvalidRequest with every fault, Unsupported for what is not served yet."""
    faults = [*plan_faults(request.plan, len(request.images)), *unknown_enums(request)]
    faults += _images_faults(request.images, "images", max_image_bytes)
    faults += _output_faults(request.plan.output, "plan.output")
    faults += _interval_faults(request.preview_interval)
    faults += _conversation_faults(request.conversation_id, "conversation_id")
    if faults:
        raise InvalidRequest(faults)
    _refuse_key(request.idempotency_key)
    images = _contents(request.images)
    return AskedPlan(seal(request.plan), images, request.preview_interval, request.conversation_id)


def _goal(
    goal: v1.Goal, faults: list[FieldViolation], num_images: int, profiles: Profiles, preview_interval: int = 0
) -> AskedGoal:
    if faults:
        raise InvalidRequest(faults)
    said = named(goal.text, profiles)
    return AskedGoal(
        goal.text,
        num_images,
        _contents(goal.images),
        goal.output,
        preview_interval,
        goal.seed if goal.HasField("seed") else None,
        goal.conversation_id,
        profiles.get(goal.profile or said.name),
        said.wish,
        "" if goal.profile else said.unknown,
    )


def _goal_faults(goal: v1.Goal, max_image_bytes: int, profiles: Profiles) -> Iterator[FieldViolation]:
    size = len(goal.text.encode())
    if not goal.text.strip():
        yield FieldViolation("goal.text", "say what you want, in plain words")
    elif size > MAX_GOAL_BYTES:
        yield FieldViolation("goal.text", f"{size} bytes of UTF-8; at most {MAX_GOAL_BYTES}")
    yield from _images_faults(goal.images, "goal.images", max_image_bytes)
    yield from _output_faults(goal.output, "goal.output")
    yield from _conversation_faults(goal.conversation_id, "goal.conversation_id")
    if goal.profile and goal.profile not in profiles:
        yield unknown_profile(goal.profile, profiles)


def _conversation_faults(conversation: str, at: str) -> Iterator[FieldViolation]:
    size = len(conversation.encode())
    if size > MAX_CONVERSATION_BYTES:
        yield FieldViolation(at, f"{size} bytes of UTF-8; at most {MAX_CONVERSATION_BYTES}")
    elif conversation and (conversation != conversation.strip() or not conversation.isprintable()):
        yield FieldViolation(at, "has blanks around it, or characters that do not print")


def _images_faults(images: Sequence[v1.ImageInput], at: str, max_image_bytes: int) -> Iterator[FieldViolation]:
    """What can be told without decoding; the service that decodes finds the rest."""
    if len(images) > MAX_IMAGES:
        yield FieldViolation(at, f"{len(images)} pictures; at most {MAX_IMAGES}")
    for index, given in enumerate(images):
        source = given.WhichOneof("source")
        if source is None:
            yield FieldViolation(f"{at}[{index}].source", "set image")
        elif source == "image" and not given.image.content:
            yield FieldViolation(f"{at}[{index}].image.content", "is empty; send the bytes of the picture")
        elif source == "image" and len(given.image.content) > max_image_bytes:
            size = len(given.image.content)
            yield FieldViolation(f"{at}[{index}].image.content", f"{size} bytes; at most {max_image_bytes}")


def _output_faults(output: image_pb2.OutputOptions, at: str) -> Iterator[FieldViolation]:
    unknown = {fault.field for fault in unknown_enums(output)}
    for fault in output_faults(output):
        if fault.field not in unknown:
            yield FieldViolation(f"{at}.{fault.field}", fault.description)


def _interval_faults(interval: int) -> Iterator[FieldViolation]:
    if interval > MAX_PREVIEW_INTERVAL:
        yield FieldViolation("preview_interval", f"{interval}; at most {MAX_PREVIEW_INTERVAL}")


def _contents(images: Sequence[v1.ImageInput]) -> tuple[image_pb2.Image, ...]:
    if any(given.HasField("artifact_sha256") for given in images):
        why = "artifacts are not served yet; send the bytes of the picture as image"
        raise Unsupported(why, reason="ARTIFACTS_NOT_SERVED")
    return tuple(given.image for given in images)


def _refuse_key(key: str) -> None:
    if key:
        why = "idempotency keys are not served yet; leave idempotency_key out"
        raise Unsupported(why, reason="IDEMPOTENCY_NOT_SERVED")
