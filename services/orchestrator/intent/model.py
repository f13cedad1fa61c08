"""The intent model: goal text and whether an image is attached in, an Intent out."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from diptych.engines.base import Engine
from diptych.engines.select import open_engine
from services.orchestrator.intent import clauses, corners, formats, limits, ordering, phrasing, pictures, told
from services.orchestrator.intent.decoding import Candidate, Evidence, Float32Array, calibrated, candidates, evidence
from services.orchestrator.intent.features import GROUPS_PER_TOKEN, FeatureReader, Features, Int64Array, letters
from services.orchestrator.intent.files import said_of_file
from services.orchestrator.intent.intent import ClarifyReason, IntendedOperation, Intent, Reading, route_of
from services.orchestrator.intent.prompt import commands, drawn, pictured
from services.orchestrator.intent.slots import TAGGED, Value, needed, slots_of

_MAX_CHARACTERS = 4000
_ALTERNATIVES = 4
_COURTESY_WORDS = 3
_SHORT = 140  # characters; in longer goals sentences of detail abound, and the head has learnt what to make of them
_OF_SEVERAL = frozenset({"composite", "match_style", "replace_background", "add_object", "replace_object"})
_LEAST_REQUEST = 3  # letters; in Chinese two characters are a request ("放大")
_MOST_REQUESTS = 4
_TRUST = 0.5  # the weight of a request read alone against the whole goal
_HIDDEN = 0.5  # logit by which a request alone must tell more of an operation than the whole goal
_CLEAR = 0.8  # probability from which an operation is found for sure
_SURE = 0.95  # of what closed words alone say
_TOLD = 3.0  # logit of what the words alone leave no doubt of
_WORTH_OFFERING = 0.02  # raw probability below which a reading is not offered


@dataclass(frozen=True, slots=True)
class Settings:
    """What goes with the head: names, calibration of confidence, the limit below which it asks.

    `prior` is added to the logit of every operation: training goals hold more operations than people's.
    """

    operations: tuple[str, ...]
    slots: tuple[str, ...]
    calibration: tuple[float, float]
    prior: float
    clarify_below: float

    @classmethod
    def read(cls, path: Path) -> "Settings":
        """The settings of a model folder's intent.json."""
        found = json.loads(path.read_text(encoding="utf-8"))
        slope, shift = found["calibration"]
        return cls(
            tuple(found["operations"]), tuple(found["slots"]), (slope, shift), found["prior"], found["clarify_below"]
        )


@dataclass(frozen=True, slots=True)
class Tagging:
    """One goal with its tokens tagged."""

    goal: str
    features: Features
    operations: Float32Array  # (L, K + 1) logits, the last: none
    slots: Float32Array  # (L, S + 1) logits, the last: none
    file: Mapping[str, Value]  # slots of the file and of its corners, read by closed words


class IntentModel:
    """Reads goals. Thread-safe; a few milliseconds a goal on one core."""

    def __init__(self, encoder: Engine, head: Engine, reader: FeatureReader, settings: Settings) -> None:
        self._encoder, self._head, self._reader, self._settings = encoder, head, reader, settings
        self._prior = np.array([settings.prior] * len(settings.operations) + [0.0], np.float32)

    @classmethod
    def load(cls, directory: Path, encoder_directory: Path | None = None, *, num_threads: int = 1) -> "IntentModel":
        """A model from a folder with head.onnx and intent.json. The encoder (encoder.onnx, int8.onnx or model.onnx)
        and tokenizer.json come from the encoder's folder, by default the same."""
        texts = encoder_directory or directory
        files = [texts / name for name in ("encoder.onnx", "int8.onnx", "model.onnx")]
        encoder = next((file for file in files if file.exists()), files[0])
        return cls(
            open_engine(encoder, threads=num_threads, precision="int8"),
            open_engine(directory / "head.onnx", threads=num_threads),
            FeatureReader(texts / "tokenizer.json"),
            Settings.read(directory / "intent.json"),
        )

    def close(self) -> None:
        """Frees both graphs."""
        self._encoder.close()
        self._head.close()

    def understand(self, goal: str, *, has_image: bool) -> Intent:
        """What the goal means. Asks back (CLARIFY) rather than guess; never raises for any text."""
        text = goal[:_MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")  # a half character would not encode
        if not text.strip():
            return _asked(ClarifyReason.UNREADABLE, 0.99, ())
        text, file, alone = said_of_file(text, has_image=has_image)
        if alone:
            return _by_words_alone("resize", goal, file)
        if has_image:
            text, cut = corners.rounded(text)
            file |= cut
            if cut and corners.is_all(text):
                name = formats.mentioned(text)
                return _by_words_alone("crop", goal, {**file, **({"format": name} if name else {})})
        said = limits.limits(text)
        if has_image and said and len(text) <= _SHORT:
            text = limits.without_limits(text)
        text, written = formats.written(text)
        found, tagging = self._look(text, has_image)
        tagging = replace(tagging, file={**file, **({"format": written} if written is not None else {})})
        possible = candidates(found, has_image=True)
        plans = possible if has_image else candidates(found, has_image=False)
        if not has_image and possible and "generate" not in possible[0].names and found.nothing < 0.5:
            return self._without_image(possible, tagging)
        if found.nothing > 0.5 or not plans:
            reason = ClarifyReason.UNREADABLE if unreadable(text, tagging.features) else ClarifyReason.VAGUE
            return _asked(reason, found.nothing, self._readings(plans or possible, tagging))
        best = plans[0]
        confidence = self._confidence(best)
        # Without a picture a scene is drawn however unsure its reading: nothing else can be meant that could be done.
        drawing = best.names == ("generate",)
        unsure = confidence < self._settings.clarify_below and (has_image or not drawing)
        # Beside a picture somebody who wants another drawn says so; one that is only described may be the one given.
        unsure = unsure or (has_image and drawing and not commands(text))
        if unsure or (has_image and phrasing.hides(text)):  # no operation hides a thing
            return _asked(ClarifyReason.UNSURE, 1 - confidence, self._readings(plans, tagging))
        reading = self._reading(best, tagging)
        others = self._readings(plans[1:], tagging)
        return Intent(
            reading.route, reading.operations, flat(reading.operations), confidence, others, None,
            limits=said, forbidden=limits.forbidden(said, best.names), every_picture=pictures.every(text),
        )  # fmt: skip

    def _look(self, text: str, has_image: bool) -> tuple[Evidence, Tagging]:
        (features,), seen = self._read([text], has_image)
        logits, tags = seen["operations"][0] + self._prior, seen["token_operations"][0]
        if not has_image and pictured(text):
            drawing = self._settings.operations.index("generate")
            logits[drawing], logits[-1] = max(logits[drawing], _TOLD), min(logits[-1], -_TOLD)
            if len(clauses.parts_of(text)) == 1:  # "draw a cat on a wall" adds it to nothing
                logits[self._settings.operations.index("add_object")] = -2 * _TOLD
        if has_image and len(text) <= _SHORT:
            logits[:-1] = self._with_parts(text, logits[:-1], tags, features)
        self._tell(text, has_image, logits)
        if has_image and phrasing.hides(text):
            sharpening = self._settings.operations.index("deblur")
            logits[sharpening] = -2 * _TOLD  # the opposite
        present = _probability(logits[:-1])
        order = ordering.scores(text, tags, features.offsets, present, seen["order"][0])
        found = evidence(self._settings.operations, logits, order)
        return found, Tagging(text, features, tags, seen["token_slots"][0], {})

    def _tell(self, text: str, has_image: bool, logits: Float32Array) -> None:
        """Lifts the logits (K + 1,) of what closed words tell beyond doubt."""
        parts = [text[span.start : span.end] for span in clauses.parts_of(text)]
        if has_image and any(told.recolours(part) for part in parts):
            at = self._settings.operations.index("color_correct")
            logits[at], logits[-1] = max(logits[at], _TOLD), min(logits[-1], -_TOLD)
        if not has_image and any(told.cuts_out(part) for part in parts[1:]):
            at, crop = (self._settings.operations.index(name) for name in ("remove_background", "crop"))
            logits[at], logits[crop] = max(logits[at], _TOLD), min(logits[crop], -_TOLD)

    def _read(self, texts: list[str], has_image: bool) -> tuple[list[Features], Mapping[str, Float32Array]]:
        """The features of texts and what the head makes of them, a row for each; short ones are padded."""
        features = [self._reader.read(text) for text in texts]
        length = max(len(found.ids) for found in features)
        ids = np.zeros((len(texts), length), np.int64)
        groups = np.zeros((len(texts), length, GROUPS_PER_TOKEN), np.int64)
        mask = np.zeros_like(ids)
        for row, found in enumerate(features):
            size = len(found.ids)
            ids[row, :size], groups[row, :size], mask[row, :size] = found.ids, found.groups, 1
        vectors = self._encoder.run({"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})
        seen = self._head.run(
            {
                "tokens": vectors["last_hidden_state"],
                "groups": groups,
                "has_image": np.full(len(texts), has_image, np.float32),
                "mask": mask.astype(np.float32),
            }
        )
        return features, seen

    def _with_parts(self, text: str, whole: Float32Array, tags: Float32Array, features: Features) -> Float32Array:
        """Logits (K,) of the operations of a short goal of several requests, each read by itself as well.

        Where a request alone tells of an operation that the whole goal hides, both count. Where each request has
        found its own operation already, nothing can be hidden.
        """
        spans = clauses.parts_of(text)
        parts = [clauses.unjoined(text[span.start : span.end]) for span in spans]
        parts = [part for part in parts if letters(part) >= _LEAST_REQUEST]
        if not 2 <= len(parts) <= _MOST_REQUESTS:
            return whole
        present = _probability(whole)
        wanted = np.flatnonzero(present > 0.5).tolist()
        if wanted and present[wanted].min() > _CLEAR and clauses.one_each(spans, tags, features.offsets, wanted):
            return whole
        alone = (self._read(parts, True)[1]["operations"] + self._prior).max(0)[:-1]
        more = alone - _HIDDEN - whole
        return np.asarray(whole + _TRUST * np.maximum(more, 0), np.float32)

    def _without_image(self, possible: list[Candidate], tagging: Tagging) -> Intent:
        """Asks for the image that the goal speaks of."""
        first = self._reading(possible[0], tagging)
        return _asked(ClarifyReason.NO_IMAGE, first.confidence, (first, *self._readings(possible[1:], tagging)))

    def _confidence(self, candidate: Candidate) -> float:
        return calibrated(candidate.probability, *self._settings.calibration)

    def _readings(self, plans: list[Candidate], tagging: Tagging) -> tuple[Reading, ...]:
        worth = [plan for plan in plans[:_ALTERNATIVES] if plan.probability >= _WORTH_OFFERING]
        return tuple(self._reading(plan, tagging) for plan in worth)

    def _reading(self, candidate: Candidate, tagging: Tagging) -> Reading:
        goal = tagging.goal
        spans = {0: clauses.Span(0, len(goal))}
        wanted = [self._settings.operations.index(name) for name in candidate.names]
        if len(wanted) > 1:
            spans = clauses.clauses_of(goal, tagging.operations, tagging.features.offsets, wanted)
        operations = tuple(
            self._operation(name, spans.get(index if len(wanted) > 1 else 0, clauses.Span(0, len(goal))), tagging)
            for name, index in zip(candidate.names, wanted, strict=True)
        )
        if tagging.file:
            slots = MappingProxyType({**tagging.file, **operations[-1].slots})
            operations = (*operations[:-1], replace(operations[-1], slots=slots))
        return Reading(route_of(candidate.names), operations, self._confidence(candidate))

    def _operation(self, name: str, span: clauses.Span, tagging: Tagging) -> IntendedOperation:
        goal, offsets = tagging.goal, tagging.features.offsets
        text = clauses.unjoined(goal[span.start : span.end])
        wanted = [self._settings.slots.index(slot) for slot in TAGGED.get(name, ())]
        tagged: dict[str, str] = {}
        if wanted:
            tags = _best(tagging.slots, wanted, eager=needed(name, text))
            for index in wanted:
                # The first sentence asks; what follows refines.
                first = clauses.Span(span.start, span.start + len(goal[span.start : span.end].split(". ")[0]))
                said = clauses.phrases(goal, tags, offsets, index, first)
                if said := said or clauses.phrases(goal, tags, offsets, index, span):
                    slot = self._settings.slots[index]
                    tagged[slot] = ", ".join(dict.fromkeys(said)) if name == "remove_object" else max(said, key=len)
            if name == "generate":
                tagged["prompt"] = self._prompt(tagging, tags, span)
        behind = pictures.backdrop(text) if name in _OF_SEVERAL else None
        if behind is not None and name in ("composite", "replace_background"):
            # A given picture as the background of another is no laying over.
            return IntendedOperation(
                "replace_background", MappingProxyType(_behind(behind, pictures.roles(text))), text
            )
        slots: dict[str, Value] = slots_of(name, text, tagged)
        if name in _OF_SEVERAL:
            slots |= pictures.roles(text)
        return IntendedOperation(name, MappingProxyType(slots), text)

    def _prompt(self, tagging: Tagging, tags: Int64Array, span: clauses.Span) -> str:
        """From the first word of the prompt to the last inside the clause."""
        goal, offsets = tagging.goal, tagging.features.offsets
        index = self._settings.slots.index("prompt")
        inside = [run for run in clauses.runs(tags, offsets, index, 1) if span.start <= run.start < span.end]
        if not inside and span.start and pictured(goal):
            span = clauses.Span(0, span.start)  # The picture is named first; what follows is done to it.
        if not inside:
            return drawn(goal[span.start : span.end])
        start = clauses.whole_words(goal, inside[0]).start
        end = clauses.whole_words(goal, inside[-1]).end
        if not commands(goal[span.start : start]):
            start = span.start
        # What follows is more of the picture, unless it is as short as a "thank you".
        if len(goal[end : span.end].split()) > _COURTESY_WORDS:
            end = span.end
        return drawn(goal[start:end])


def _by_words_alone(name: str, goal: str, said: dict[str, Value]) -> Intent:
    """What closed words say all of: a resize to bytes or to paper, a crop with round corners."""
    slots = MappingProxyType(said)
    return Intent("EDIT", (IntendedOperation(name, slots, goal),), slots, _SURE, (), None)


def _behind(background: int, said: Mapping[str, int]) -> dict[str, Value]:
    """The roles of the pictures where one is to be the background: it lends, the other is worked on."""
    others = [which for which in said.values() if which != background]
    return {"source_picture": background, "target_picture": others[0] if others else 1 if background != 1 else 2}


def _probability(logits: Float32Array) -> npt.NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


def _best(logits: Float32Array, wanted: list[int], *, eager: bool = False) -> Int64Array:
    """The likeliest tag (L,) of each token among the wanted ones and none; `eager` asks less of a tag."""
    kept = np.full_like(logits, -np.inf)
    kept[:, wanted] = logits[:, wanted] + (1.5 if eager else 0.0)
    kept[:, -1] = logits[:, -1]
    return np.asarray(kept.argmax(-1), np.int64)


def flat(operations: tuple[IntendedOperation, ...]) -> Mapping[str, Value]:
    """The slots of all operations in one mapping; the first operation to have one wins."""
    merged: dict[str, Value] = {}
    for operation in operations:
        for name, value in operation.slots.items():
            merged.setdefault(name, value)
    return MappingProxyType(merged)


def unreadable(text: str, features: Features) -> bool:
    """True for letters that are no words: the tokenizer breaks them into far more pieces than there are words."""
    words = re.findall(r"\w+", text)
    if not any(char.isalpha() for char in text):
        return True
    if any("\u2e80" <= char <= "\u9fff" for char in text):
        return False
    return (len(features.ids) - 2) / max(1, len(words)) >= 2.5


def _asked(reason: ClarifyReason, confidence: float, readings: tuple[Reading, ...]) -> Intent:
    return Intent("CLARIFY", (), MappingProxyType({}), confidence, readings, reason)
