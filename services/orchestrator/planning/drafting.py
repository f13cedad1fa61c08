"""A plan's steps being written, one branch for each picture. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from diptych.v1 import editor_pb2, generator_pb2
from diptych.v1 import orchestrator_pb2 as v1
from services.orchestrator.planning import slots as fill
from services.orchestrator.planning.collage import lay_out
from services.orchestrator.planning.colors import color_of
from services.orchestrator.planning.conditions import Bound, bound_of
from services.orchestrator.planning.fills import NOT_INSIDE, fill_of
from services.orchestrator.planning.formats_said import each_of
from services.orchestrator.planning.known import Known
from services.orchestrator.planning.model_choice import Choice, bare_prompt, content_kind, drawing_model
from services.orchestrator.planning.plan import action_of, operation_of, unchanged
from services.orchestrator.planning.wanted import Wanted
from services.orchestrator.planning.wording import reason_for

Input = v1.StepInput

_SIZED = ("width", "height", "percent", "scale", "platform")
# The slot whose words describe an operation's second picture.
SECOND_PICTURE = {
    "replace_background": "background",
    "replace_object": "replacement",
    "add_object": "object",
    "composite": "object",
    "match_style": "style",
}
_NEEDS_SECOND = frozenset(SECOND_PICTURE) - {"replace_background"}
# Things that are drawn on a ground of their own, which must not come along.
_THINGS = frozenset({"replace_object", "add_object"})
# Parts of a picture that are no things: what is drawn for them fills them, ground and all.
_SKY = re.compile(r"\b(?:sky|skies|himmel|ciel|cielo)\b|天空", re.IGNORECASE)
_SKY_FEATHER = 2.0
_OTHER_PICTURE = re.compile(r"\b(second|other|2nd|zweite\w*|andere\w*)\b|\b(picture|image|photo) ?2\b", re.IGNORECASE)
# "The bottle from the second picture": the thing is wanted, not the picture around it.
_THING_OF_A_PICTURE = re.compile(
    r"\b(?:from|out of|of|aus|von|de la|du|de) (?:(?:the|my|dem|der|den|la|le) )?(?:\w+ )?(?:pictures?|photos?|images?|"
    r"pics?|shot|one|bild|foto|imagen|second|first|third|last|other|zweiten|ersten|deuxième|première|segunda|primera)\b|"
    r"第.张(?:照片|图片|图)?(?:里|中|上)?的",
    re.IGNORECASE,
)


def takes_second(operation: Wanted, num_images: int) -> bool:
    """Whether the operation's other picture is the second of those that came along."""
    if num_images < 2:
        return False
    slot = SECOND_PICTURE.get(operation.name, "style" if operation.name == "style_transfer" else "")
    said = fill.words(operation.slots, slot) if slot else ""
    return bool(slot) and (not said or bool(_OTHER_PICTURE.search(f"{said} {operation.clause}")))


def of_the_file_only(operation: Wanted) -> bool:
    """Whether it is a resize that speaks of the file's bytes or dots per inch and of no size: the pixels stay."""
    sized = any(operation.slots.get(key) for key in (*_SIZED, "formats"))
    return operation.name == "resize" and not sized and any(map(operation.slots.get, ("max_bytes", "dpi")))


def pair_of(operation: Wanted, num_images: int) -> tuple[int, int]:
    """The numbers, from 0, of the picture that is worked on and of the one that lends to it, as the goal says."""

    def number(slot: str) -> int | None:
        said = fill.number(operation.slots, slot, -1, num_images)
        return None if said is None else int(said) - 1 if said > 0 else num_images - 1

    target, source = number("target_picture"), number("source_picture")
    if target is None:
        target = 1 if source == 0 else 0
    if source is None or source == target:
        source = 1 if target == 0 else 0
    return target, source


@dataclass
class Draft:
    """Steps being written, in order."""

    goal: str
    num_images: int
    known: Known
    steps: list[v1.PlanStep] = field(default_factory=list)
    _drawn: dict[str, Input] = field(default_factory=dict)
    _looks: dict[bytes, v1.PlanStep] = field(default_factory=dict)
    _choice: Choice | None = None

    def branch(self, operations: Sequence[Wanted], base: int | None) -> list[Input]:
        """Writes the steps for one picture, and gives the pictures that they end with: one for each size asked for."""
        return self._walk(operations, None if base is None else Input(goal_image=base), None)

    def together(self, operations: Sequence[Wanted], at: int) -> list[Input]:
        """As `branch`, for all pictures in one: what comes before the operation at `at` is done to each of them."""
        each = [end for base in range(self.num_images) for end in self.branch(operations[:at], base)]
        return self._walk(operations[at + 1 :], lay_out(self, operations[at], each), None)

    def _walk(self, operations: Sequence[Wanted], current: Input | None, spare: Input | None) -> list[Input]:
        for index, operation in enumerate(operations):
            rest = operations[index + 1 :]
            if sizes := each_of(fill.words(operation.slots, "formats")):
                if current is not None and self._is_drawn(current):
                    current = self._with_pixels(operation, current)
                apart = [replace(operation, name=name, slots=slots) for name, slots in sizes]
                return [end for one in apart for end in self._walk([one, *rest], current, spare)]
            if operation.name == "generate":
                # Drawn beside a picture that is worked on, it is what a later step lays into that one.
                beside = current is not None and any(other.name in SECOND_PICTURE for other in rest)
                drawn = self._draw(operation, once=beside)
                spare, current = (drawn, current) if beside else (spare, drawn)
            elif operation.name == "animate":
                self._animate(operation, current)
                return []
            elif operation.name in ("analyze", "vary", "crop") or of_the_file_only(operation):
                current = self._alone(operation, current)
            else:
                current, spare = self._edit(operation, current, spare)
        return [] if current is None else [current]

    def _alone(self, operation: Wanted, current: Input | None) -> Input | None:
        """A step that takes the picture and no other."""
        if operation.name == "vary":
            return self.add(operation, v1.PlanStep(vary=fill.variation(self.goal, operation.slots)), [current])
        if operation.name == "crop":
            return self._crop(operation, current)
        if of_the_file_only(operation) and current is not None and current.step_id:
            return current
        if operation.slots.get("format") or of_the_file_only(operation):
            return self.add(operation, v1.PlanStep(edit=unchanged()), [current], "Only the file is another.")
        self.add(operation, v1.PlanStep(analyze=v1.AnalyzeImageStep()), [current])
        return current

    def add(self, operation: Wanted, step: v1.PlanStep, inputs: Sequence[Input | None], note: str = "") -> Input:
        """Writes a step, with its reason and its model; one that would do again what was just done is left out."""
        size = step.edit.resize
        if (size.platform or (size.width and size.height)) and self.known.catalog.of_task("matting"):
            size.fit = editor_pb2.FIT_MODE_SUBJECT
        if self.steps and self._repeats(step, inputs):
            return Input(step_id=self.steps[-1].id)
        step.id = str(len(self.steps) + 1)
        step.inputs.extend(taken for taken in inputs if taken is not None)
        reasons = [reason_for(step, operation.clause), operation.because, note]
        if len(step.inputs) == 1:
            reasons.append(fill.assumption(operation_of(step), operation.slots))
        if action_of(step) in ("generate", "vary", "animate_latents"):
            reasons.append(self._settle(step))
        if step.edit.resize.fit == editor_pb2.FIT_MODE_SUBJECT:
            reasons.append("What is over is cut off beside the subject.")
        if operation_of(step) == "upscale":
            step.edit.upscale.content, why = content_kind(self.goal, self.known.catalog)
            reasons.append(why)
        step.reason = " ".join(reason for reason in reasons if reason)
        self.steps.append(step)
        return Input(step_id=step.id)

    def _repeats(self, step: v1.PlanStep, inputs: Sequence[Input | None]) -> bool:
        """Whether the step is the last one's resize or crop once more, of its result."""
        same = step.edit.WhichOneof("operation") in ("resize", "crop") and step.edit == self.steps[-1].edit
        return same and [taken for taken in inputs if taken] == [Input(step_id=self.steps[-1].id)]

    def _settle(self, step: v1.PlanStep) -> str:
        """Gives a step that draws its model; says why that one."""
        if self._choice is None:
            self._choice = drawing_model(self.goal, self.known.catalog)
        getattr(step, action_of(step)).model = self._choice.model
        return self._choice.why

    def _draw(self, operation: Wanted, *, once: bool) -> Input:
        slots = operation.slots
        spec = fill.generation(self.goal, slots)
        spec.prompt = fill.clipped(self._in_house_style(bare_prompt(spec.prompt)))
        if once and spec.prompt in self._drawn:
            return self._drawn[spec.prompt]
        drawn = self.add(operation, v1.PlanStep(generate=spec), [])
        # The model draws at its own size; what the goal asks for is made from that.
        if any(slots.get(name) for name in ("width", "height", "platform")):
            drawn = self._with_pixels(operation, drawn)
            drawn = self.add(operation, v1.PlanStep(edit=fill.edit("resize", slots)), [drawn])
        elif fill.aspect_of(slots) is not None:
            drawn = self.add(operation, v1.PlanStep(edit=fill.edit("crop", slots)), [drawn])
        if once:
            self._drawn[spec.prompt] = drawn
        return drawn

    def _is_drawn(self, picture: Input) -> bool:
        step = next((step for step in self.steps if step.id == picture.step_id), None)
        return step is not None and action_of(step) == "generate"

    def _with_pixels(self, operation: Wanted, drawn: Input) -> Input:
        """The drawing enlarged with detail, where more pixels are wanted than the models here draw."""
        side = max((model.side for model in self.known.catalog.of_task("text-to-image")), default=0)
        sides = [fill.pixels(operation.slots, name) or 0 for name in ("width", "height")]
        factor = max(sides) / side if side and max(sides) else 4.0 if side and side < 1024 else 1.0
        if factor <= 1:
            return drawn
        scale = {"scale": min(8.0, factor)}
        note = f"The model draws {side} pixels: they are enlarged with detail before they are brought to the size."
        return self.add(operation, v1.PlanStep(edit=fill.edit("upscale", scale)), [drawn], note)

    def _in_house_style(self, prompt: str) -> str:
        return self.known.profile.prompt(prompt) if self.known.profile is not None else prompt

    def _crop(self, operation: Wanted, current: Input | None) -> Input | None:
        """A crop, and where a size is named as well, that size; a platform's size alone crops what is over."""
        slots = operation.slots
        sized = bool(slots.get("platform")) or all(slots.get(side) for side in ("width", "height"))
        if not slots.get("platform") or slots.get("aspect") or slots.get("object"):
            current = self.add(operation, v1.PlanStep(edit=fill.edit("crop", slots)), [current])
        if sized:
            current = self.add(operation, v1.PlanStep(edit=fill.edit("resize", slots)), [current])
        return current

    def _animate(self, operation: Wanted, current: Input | None) -> None:
        if current is not None:
            self.add(operation, v1.PlanStep(animate_image=fill.film_of_still(operation.slots)), [current])
            return
        prompt = fill.generation(self.goal, operation.slots).prompt
        places = [place.strip() for place in fill.words(operation.slots, "places").split("|") if place.strip()]
        step = v1.PlanStep()
        step.animate_latents.keyframes.extend(
            generator_pb2.LatentKeyframe(prompt=fill.clipped(self._in_house_style(place)))
            for place in places or [prompt] * 2
        )
        if (length := fill.film_length(operation.slots)) is not None:
            step.animate_latents.duration.CopyFrom(length)
        self.add(operation, step, [])

    def _edit(self, operation: Wanted, current: Input | None, spare: Input | None) -> tuple[Input, Input | None]:
        other: Input | None = None
        note = ""
        if operation.slots.get("own") and spare is not None:
            # What was drawn is the picture; the one that came along is the mark on it.
            current, other, spare = spare, current, None
        elif operation.name in SECOND_PICTURE and spare is not None:
            other, spare = spare, None
        elif takes_second(operation, self.num_images):
            other = Input(goal_image=pair_of(operation, self.num_images)[1])
            if (
                operation.name == "composite"
                and not operation.slots.get("anchor")
                and _THING_OF_A_PICTURE.search(operation.clause)
            ):
                cut = v1.PlanStep(edit=fill.edit("remove_background", {}))
                other = self.add(operation, cut, [other], "Only the thing itself comes along.")
                operation = replace(operation, name="add_object")
        elif current is not None and (filled := fill_of(operation)) is not None:
            if self.known.catalog.draws_inside:
                return filled(self, operation, current), spare
            if operation.name == "replace_object" and _SKY.search(fill.words(operation.slots, "object")):
                return self._another_sky(operation, current), spare
            note = NOT_INSIDE
        edit = fill.edit(operation.name, operation.slots)
        if fill.unnamed(operation.name, operation.slots) and operation.name == "color_correct":
            edit.selection.subject = True
        if operation.name == "resize" and current is not None and self._is_drawn(current):
            current = self._with_pixels(operation, current)
        if other is None and (operation.name in _NEEDS_SECOND or edit.replace_background.HasField("image")):
            other = self._drawn_for(operation)
        if other is not None and operation.name == "replace_background":
            edit.replace_background.image.SetInParent()
        if other is not None and operation.name == "style_transfer":
            edit.style_transfer.image.SetInParent()
        return self._conditional(operation.with_slots(note), edit, current, other), spare

    def _another_sky(self, operation: Wanted, current: Input) -> Input:
        """A sky is no thing with an outline: what is drawn fills it, and the rest stays as it was."""
        said = fill.words(operation.slots, "replacement")
        edit = editor_pb2.Operation()
        edit.selection.label, edit.selection.feather = "sky", _SKY_FEATHER
        if (color := color_of(said)) is not None:
            edit.color_correct.color = color
            return self.add(operation, v1.PlanStep(edit=edit), [current], "It is tinted, clouds and all.")
        prompt = said if _SKY.search(said) else f"{said} sky"
        drawn = self.add(operation, v1.PlanStep(generate=generator_pb2.GenerationSpec(prompt=prompt)), [])
        edit.composite.overlay.SetInParent()
        edit.composite.stretch = True
        note = "The drawing fills the sky; outside of it the picture stays as it was."
        return self.add(operation, v1.PlanStep(edit=edit), [current, drawn], note)

    def _conditional(
        self, operation: Wanted, edit: editor_pb2.Operation, current: Input | None, other: Input | None
    ) -> Input:
        """The edit, after a look at the picture where that decides whether it is needed."""
        bound = bound_of(operation, self.goal) if current is not None else None
        if bound is None or current is None:
            return self.add(operation, v1.PlanStep(edit=edit), [current, other])
        look = self._look(current, bound)
        step = v1.PlanStep(edit=edit, only_if=[bound.condition(look.id)])
        return self.add(operation, step, [current, other], bound.words)

    def _look(self, current: Input, bound: Bound) -> v1.PlanStep:
        """The step that looks at a picture; one for all that is asked of that picture."""
        key = current.SerializeToString(deterministic=True)
        if key not in self._looks:
            because = "Decides whether a later step is needed."
            self.add(Wanted("analyze", because=because), v1.PlanStep(analyze=v1.AnalyzeImageStep()), [current])
            self._looks[key] = self.steps[-1]
        look = self._looks[key]
        if bound.kind not in look.analyze.kinds:
            look.analyze.kinds.append(bound.kind)
        return look

    def _drawn_for(self, operation: Wanted) -> Input:
        """The picture that the operation describes in words; the same words are drawn once."""
        said = fill.words(operation.slots, SECOND_PICTURE[operation.name])
        prompt = fill.clipped(said or operation.clause.strip() or self.goal)
        if prompt not in self._drawn:
            step = v1.PlanStep(generate=generator_pb2.GenerationSpec(prompt=prompt))
            drawn = self.add(operation, step, [])
            if operation.name in _THINGS or operation.slots.get("anchor"):
                drawn = self.add(operation, v1.PlanStep(edit=fill.edit("remove_background", {})), [drawn])
            self._drawn[prompt] = drawn
        return self._drawn[prompt]
