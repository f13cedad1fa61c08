"""From a goal to its plan: its words read, its conversation recalled, its models chosen, its time told."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from diptych.errors import FailedPrecondition, FieldViolation, InvalidRequest
from diptych.serving.admission import Admission
from diptych.serving.context import current_request
from diptych.serving.worker import Worker
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.catalog import CatalogReader
from services.orchestrator.convert import AskedGoal
from services.orchestrator.intent import ClarifyReason, Intent
from services.orchestrator.intent.intent import route_of
from services.orchestrator.language.language_plan import NoPlan
from services.orchestrator.memory.conversations import Conversation, Conversations, Kept, Turn
from services.orchestrator.memory.estimating import Estimator, every_plan, size_of
from services.orchestrator.memory.followup import FollowUp, chosen_plan, follow_up, intended
from services.orchestrator.memory.taking_back import picture_before
from services.orchestrator.planning.clarify import which_profile
from services.orchestrator.planning.details import detailed
from services.orchestrator.planning.known import Known
from services.orchestrator.planning.plan import seal
from services.orchestrator.planning.plan_faults import plan_faults
from services.orchestrator.planning.planner import plan_goal, plan_profile, reason_to_ask
from services.orchestrator.planning.profiles import Profile
from services.orchestrator.planning.wanted import Wanted, wanted_of
from services.orchestrator.running.peers import Given

if TYPE_CHECKING:
    from services.orchestrator.language.language_model import LanguageModel

logger = logging.getLogger(__name__)

_MOST_PROFILES, _LEAST_OPTIONS = 3, 2  # of a question about profiles
# What a goal says, given whether pictures are attached.
Understand = Callable[[str, bool], Intent]


@dataclass(frozen=True)
class Planned:
    """A plan, the kept pictures that it takes, and what is to be remembered of it."""

    plan: v1.Plan
    stored: Mapping[str, Given] = field(default_factory=dict)
    operations: tuple[Wanted, ...] = ()
    before: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    undoes: bool = False


class Memory:
    """Conversations and estimates on their own thread, and the pictures of profiles."""

    def __init__(
        self, worker: Worker, conversations: Conversations, estimator: Estimator, profiles: Mapping[str, Profile]
    ) -> None:
        self.estimator = estimator
        self._worker = worker
        self._conversations = conversations
        self._marks = {profile.watermark_sha256: profile.watermark_image for profile in profiles.values()}

    async def recall(self, conversation: str) -> Conversation:
        """What the caller said before; empty without an id."""
        if not conversation:
            return Conversation()
        return await self._worker.run(self._conversations.recall, _caller(), conversation)

    async def stored(self, plans: Iterable[v1.Plan]) -> dict[str, Given]:
        """The kept pictures that plans take. InvalidRequest names those that are not kept, or no more."""
        found: dict[str, Given] = {}
        faults = []
        for plan in plans:
            for at, step in enumerate(plan.steps):
                for number, taken in enumerate(step.inputs):
                    sha = taken.stored_sha256
                    if not sha or sha in found:
                        continue
                    if (mark := self._marks.get(sha)) is not None:
                        found[sha] = Given(mark)
                        continue
                    kept = await self._worker.run(self._conversations.picture, _caller(), sha)
                    if kept is None:
                        field_path = f"plan.steps[{at}].inputs[{number}].stored_sha256"
                        faults.append(FieldViolation(field_path, "is not kept here for you, or no more; attach it"))
                    else:
                        found[sha] = Given(kept.image, marking=kept.marking)
        if faults:
            raise InvalidRequest(faults)
        return found

    async def keep(
        self,
        conversation: str,
        goal: str,
        planned: Planned,
        images: Sequence[image_pb2.Image],
        done: v1.GoalCompleted,
    ) -> None:
        """Remembers a turn: its words, its plan, the pictures that came and those that were made."""
        came = [Kept(image, image_pb2.MARKING_STANDARD_EDIT) for image in images]
        made = [Kept(image, done.marking.marking) for image in done.images]
        takes = planned.takes or await asyncio.to_thread(_names, came)
        gives = await asyncio.to_thread(_names, made)
        before = planned.before or takes
        turn = Turn(goal, planned.operations, planned.plan, before, takes, gives, planned.undoes)
        await self._worker.run(self._conversations.keep, _caller(), conversation, turn, [*came, *made])

    async def save_times(self) -> None:
        """Writes down how long the calls took. Estimates are a service beside the work: no goal fails for them."""
        try:
            await self._worker.run(self.estimator.save)
        except FailedPrecondition as error:
            logger.warning("times are not kept: %s", error.message)


class Goals:
    """Plans goals: the language model if there is one, else what the intent model reads. Makes no pictures."""

    def __init__(
        self,
        understand: Understand,
        *,
        worker: Worker,
        planning: Admission,
        memory: Memory,
        catalog: CatalogReader,
        language_model: "LanguageModel | None" = None,
        profiles: Mapping[str, Profile] = MappingProxyType({}),
    ) -> None:
        self._profiles = profiles
        self._understand = understand
        self._worker = worker
        self._planning = planning
        self._memory = memory
        self._catalog = catalog
        self._language_model = language_model

    async def plan(self, asked: AskedGoal, *, runs: bool) -> Planned:
        """What is to be done. `runs`: it will be run at once, so that what is left to chance is settled now."""
        said = await self._memory.recall(asked.conversation)
        known = Known(asked.output, asked.seed, self._catalog.known, asked.profile)
        if runs and known.seed is None:
            known = replace(known, seed=secrets.randbits(32))
        planned = await self._planned(asked, said, known)
        if not asked.num_images:
            planned = replace(planned, before=said.pictures)
        plans: list[v1.Plan] = []
        every_plan(planned.plan, plans.append)
        stored = await self._memory.stored(plans)
        sizes = [size_of(image) for image in asked.images]
        kept_sizes = {sha: size_of(given.image) for sha, given in stored.items()}
        every_plan(planned.plan, lambda plan: self._memory.estimator.fill(plan, sizes, kept_sizes))
        return replace(planned, stored=stored)

    async def _planned(self, asked: AskedGoal, said: Conversation, known: Known) -> Planned:
        if (answer := chosen_plan(asked.text, said.question)) is not None:
            takes = said.turns[-1].takes if not asked.num_images else ()
            if faults := plan_faults(answer, asked.num_images or len(takes)):
                raise InvalidRequest(faults)
            return Planned(with_stored(answer, takes), takes=takes)
        follow = follow_up(asked.wish, asked.num_images, said)
        if follow is not None and follow.undoes:
            return Planned(picture_before(follow, said.standing[-1], known), takes=follow.takes, undoes=True)
        takes = () if asked.num_images else follow.takes if follow is not None else said.pictures
        num_images = asked.num_images or len(takes)
        if not asked.wish and num_images and (plan := plan_profile(num_images, known)) is not None:
            return Planned(with_stored(plan, takes), takes=takes)
        note = ""
        if follow is None and self._language_model is not None:
            try:
                plan = await self._language_model.plan(asked.text, num_images, known)
                return Planned(with_stored(plan, takes), takes=takes)
            except NoPlan as why:
                note = f" The built-in planner made it, because the language model {why}."
        intent = await self._read(asked.wish, num_images, follow)
        if reason_to_ask(intent, num_images) is None:
            # Only now is anybody asked: a question to the caller costs no call.
            known = replace(known, catalog=await self._catalog.current())
        plan = plan_goal(asked.text, intent, num_images, known)
        if asked.unknown_profile:
            plan = self._which_profile(asked, intent, num_images, known, plan)
        if follow is not None:
            plan.why = f"{follow.why} {plan.why}"
        plan.why += note
        return Planned(with_stored(plan, takes), operations=tuple(wanted_of(intent.operations)), takes=takes)

    def _which_profile(
        self, asked: AskedGoal, intent: Intent, num_images: int, known: Known, without: v1.Plan
    ) -> v1.Plan:
        """A question instead of the plan, where the goal names a profile that there is not."""
        plans: list[tuple[str, v1.Plan]] = []
        for profile in list(self._profiles.values())[:_MOST_PROFILES]:
            branded = replace(known, profile=profile)
            made = plan_goal(asked.text, intent, num_images, branded) if asked.wish else None
            found = made if made is not None and made.steps else plan_profile(num_images, branded)
            if found is not None:
                plans.append((profile.name, found))
        if without.steps:
            plans.append(("", without))
        if len(plans) < _LEAST_OPTIONS:
            known_here = ", ".join(sorted(self._profiles)) or "none"
            without.why += f" There is no profile “{asked.unknown_profile}” here; there is {known_here}."
            return without
        plan = v1.Plan(confidence=intent.confidence, why="Guessing would be worse than asking.")
        plan.clarification.CopyFrom(which_profile(asked.unknown_profile, plans))
        plan.reading.route = v1.ROUTE_CLARIFY
        return seal(plan)

    async def _read(self, text: str, num_images: int, follow: FollowUp | None) -> Intent:
        if not text:  # nothing but a profile is named
            reason = ClarifyReason.VAGUE if num_images else ClarifyReason.NO_IMAGE
            return Intent("CLARIFY", (), {}, 0.99, (), reason)
        if follow is not None:
            operations = intended(follow.operations)
            return Intent(route_of(tuple(one.name for one in operations)), operations, {}, 1.0, (), None)
        async with self._planning.permit(current_request().deadline):
            read = await self._worker.run(self._understand, text, num_images > 0)
        return detailed(text, read, num_images)


def with_stored(plan: v1.Plan, takes: Sequence[str]) -> v1.Plan:
    """The plan with the goal's pictures, by number, replaced by kept ones; as it is when there are none."""
    if not takes:
        return plan
    for option in plan.clarification.options:
        with_stored(option.plan, takes)
    for step in plan.steps:
        for taken in step.inputs:
            if taken.WhichOneof("source") == "goal_image":
                taken.stored_sha256 = takes[taken.goal_image]
    return seal(plan)


def _names(pictures: Sequence[Kept]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(picture.sha256 for picture in pictures))


def _caller() -> str:
    return current_request().caller or ""
