"""From a language model's words to a plan, held to the same rules as any caller's. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import json_format

from diptych.errors import FieldViolation
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.language.plan_schema import FORMATS
from services.orchestrator.planning.enums import unknown_enums
from services.orchestrator.planning.known import Known
from services.orchestrator.planning.plan import operation_of, seal
from services.orchestrator.planning.plan_faults import plan_faults
from services.orchestrator.planning.seeding import settle_seeds
from services.orchestrator.planning.wording import reason_for, told_of_file

_INSTRUCTIONS = """\
You plan work on pictures. Two services do it: the generator draws new pictures (generate, vary, animate_latents), the
editor changes and looks at pictures that exist (edit, select, analyze, animate_image). Answer with JSON that fits the
schema: either "steps", or, only when the goal cannot be done without asking, one "question" with two to four
"options", each a short label and steps that would do it.
Each step has an id ("1", "2", ...), one action, its inputs, and a reason in plain words. Inputs name the goal's
pictures by number from 0 ({"goal_image": 0}) or the result of an earlier step ({"step_id": "1"}); pictures inside an
action stay empty objects. generate takes no input; vary a picture, and a mask if only a part is drawn anew; edit a
picture, then a second one where the operation lays one in (give that field as {}), then a mask if its selection is
one ({}). Draw only what does not exist yet. Do what the goal says and nothing else. If the goal gives no order: mend
faults before enlarging, cut out before laying on, crop and resize last. Treat each of the goal's pictures in steps
of its own.
"""


class NoPlan(Exception):
    """Why a language model gave no plan that can be used, to be read after "the language model"."""


def messages(goal: str, num_images: int, known: Known) -> list[dict[str, str]]:
    """What is said to the model."""
    models = ", ".join(f"{model.name} ({model.task})" for model in known.catalog.models) or "the defaults"
    style = ""
    if known.profile is not None:
        style = f" Preferences: {known.profile.model_dump_json(exclude={'folder', 'watermark'}, exclude_none=True)}."
    facts = f"{num_images} pictures came along, numbered from 0. Models: {models}.{style}"
    return [
        {"role": "system", "content": _INSTRUCTIONS},
        {"role": "user", "content": f"{facts}\nThe goal: {json.dumps(goal, ensure_ascii=False)}"},
    ]


def plan_from(answer: str, num_images: int, known: Known) -> v1.Plan:
    """The sealed plan in an answer. NoPlan when it holds none, or one with faults."""
    try:
        said = json.loads(answer)
    except ValueError:
        raise NoPlan("gave an answer that is not JSON") from None
    if not isinstance(said, dict):
        raise NoPlan("gave an answer that is no object")
    if said.get("steps"):
        plan = _plan(said["steps"], said, num_images, known)
        plan.reading.route = plan.route
        plan.reading.operations.extend(operation_of(step) for step in plan.steps)
    elif said.get("question"):
        plan = _question(said, num_images, known)
    else:
        raise NoPlan("gave neither steps nor a question")
    plan.why = f"{said.get('why', '')} A language model made this plan.".strip()
    return plan


def _question(said: Mapping[str, Any], num_images: int, known: Known) -> v1.Plan:
    options = said.get("options")
    if not isinstance(options, list) or not 2 <= len(options) <= 4:
        raise NoPlan("asked a question without two to four answers")
    plan = v1.Plan(reading=v1.Reading(route=v1.ROUTE_CLARIFY))
    plan.clarification.question = str(said["question"])
    for option in options:
        if not isinstance(option, dict) or not option.get("steps") or not option.get("label"):
            raise NoPlan("asked a question with an answer that is no plan")
        answer = _plan(option["steps"], said, num_images or 1, known)
        needs = bool(plan_faults(answer, num_images))
        plan.clarification.options.add(label=str(option["label"]), plan=answer, needs_image=needs)
    return seal(plan)


def _plan(steps: object, said: Mapping[str, Any], num_images: int, known: Known) -> v1.Plan:
    if not isinstance(steps, Sequence):
        raise NoPlan("gave steps that are no list")
    plan = v1.Plan()
    try:
        json_format.ParseDict({"steps": steps}, plan)
    except (json_format.ParseError, RecursionError) as error:
        raise NoPlan(f"gave steps that do not read: {_short(error)}") from None
    faults = [*plan_faults(plan, num_images), *unknown_enums(plan, "plan")]
    faults += _kept_pictures(plan)
    if faults:
        raise NoPlan(f"gave a plan that cannot run: {faults[0].field} {faults[0].description}")
    for step in plan.steps:
        step.reason = step.reason or reason_for(step, "")
    plan.output.CopyFrom(known.output)
    most = said.get("max_bytes")
    if not plan.output.HasField("max_bytes") and isinstance(most, int) and 1 <= most < 2**32:
        plan.output.max_bytes = most
    limited = plan.output.HasField("max_bytes") and said.get("format") not in FORMATS
    if plan.output.format == image_pb2.IMAGE_FORMAT_UNSPECIFIED and not limited:
        name = said.get("format") if said.get("format") in FORMATS else "png"
        plan.output.format = image_pb2.ImageFormat.Value(f"IMAGE_FORMAT_{str(name).upper()}")
    told_of_file(plan)
    settle_seeds(plan, known.seed)
    return seal(plan)


def _kept_pictures(plan: v1.Plan) -> list[FieldViolation]:
    """A model cannot know what is kept here, so a name of it is made up."""
    return [
        FieldViolation(f"plan.steps[{index}].inputs", "names a kept picture")
        for index, step in enumerate(plan.steps)
        if any(taken.stored_sha256 for taken in step.inputs)
    ]


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
