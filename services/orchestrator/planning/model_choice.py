"""Which model and which settings suit a goal, from what the services list, and why. Pure."""

import re
from dataclasses import dataclass

from diptych.v1 import editor_pb2 as editor

_DRAFT = re.compile(
    r"\b(?:quick(?:ly)?|drafts?|rough|fast|previews?|entw[uü]rfe?|schnell\w*|brouillon|rapide|borrador|rápid[oa])\b|草图|草稿|快速",
    re.IGNORECASE,
)
_FINAL = re.compile(
    r"\b(?:final|(?:best|high(?:est)?|top) quality|finest|polished|hochwertig\w*|endgültig\w*|beste qualität|"
    r"haute qualité|alta calidad)\b|高质量|最终",
    re.IGNORECASE,
)
# Words about the work, not about what is drawn.
_ABOUT_WORK = re.compile(
    r"^(?:(?:a|an|the|one)\s+)?(?:quick|rough|fast|first|final|high[- ]quality)?\s*(?:draft|preview|version)\s*"
    r"(?:of|for)\s+"
    r"|^(?:a\s+)?(?:quick|rough|fast|final)\s+(?=\w)|,?\s*\b(?:just )?a (?:quick|rough) (?:draft|one)\b",
    re.IGNORECASE,
)
_PHOTO = re.compile(
    r"\b(?:photos?|photograph\w*|photo-?realistic|realistic|fotos?|fotografie)\b|照片|写实", re.IGNORECASE
)
_DRAWN = re.compile(
    r"\b(?:drawings?|cartoons?|anime|manga|comics?|illustrations?|logos?|icons?|line ?art|sketch(?:es)?|clip ?art|"
    r"pixel art|zeichnung\w*|dessins?|dibujos?)\b|动漫|漫画|插画|图标",
    re.IGNORECASE,
)

# Smaller models draw single things on a plain ground.
_FINE_ENOUGH = 512


@dataclass(frozen=True)
class Offered:
    """A model that a service lists and can use.

    `steps`: its usual denoising steps; `side`: its usual width, pixels; 0 where it has none.
    """

    service: str
    name: str
    task: str
    description: str = ""
    steps: int = 0
    side: int = 0


@dataclass(frozen=True)
class Catalog:
    """The models that generator and editor can use; empty when they have not been heard."""

    models: tuple[Offered, ...] = ()

    def of_task(self, task: str) -> tuple[Offered, ...]:
        """The usable models of a task."""
        return tuple(model for model in self.models if model.task == task)

    @property
    def draws_inside(self) -> bool:
        """Whether new pixels inside a photograph would not show as a small drawing; so far as models are known."""
        offered = self.of_task("text-to-image")
        return not offered or any(not model.side or model.side >= _FINE_ENOUGH for model in offered)


@dataclass(frozen=True)
class Choice:
    """A model, empty for the service's default, and why in a sentence."""

    model: str = ""
    why: str = ""


def drawing_model(goal: str, catalog: Catalog) -> Choice:
    """The model that draws: by photograph or drawing first, then by draft or final."""
    offered = catalog.of_task("text-to-image")
    wants_photo = _PHOTO.search(goal) is not None
    photographs = [model for model in offered if _PHOTO.search(model.description)]
    fitting = [model for model in offered if bool(_PHOTO.search(model.description)) == wants_photo]
    note = ""
    if wants_photo and offered and not photographs:
        note = "No model here draws photographs, so it becomes a drawing."
    kept = fitting if fitting and len(fitting) < len(offered) else list(offered)
    if len({model.steps for model in kept}) > 1:
        if _DRAFT.search(goal):
            model = min(kept, key=lambda one: one.steps)
            return Choice(model.name, f"{note} A draft is asked for: {model.name} takes {model.steps} steps.".strip())
        if _FINAL.search(goal):
            model = max(kept, key=lambda one: one.steps)
            return Choice(model.name, f"{note} It is to be final: {model.name} takes its {model.steps} steps.".strip())
    if kept and len(kept) < len(offered):
        kind = "photographs" if wants_photo else "drawings"
        best = max(kept, key=lambda one: one.steps)
        return Choice(best.name, f"{best.name} is the model here for {kind}.")
    return Choice(why=note)


def bare_prompt(prompt: str) -> str:
    """The prompt without words that speak of the work, such as "quick draft of"."""
    return _ABOUT_WORK.sub("", prompt).strip(" ,") or prompt


def content_kind(goal: str, catalog: Catalog) -> tuple[editor.ContentKind.ValueType, str]:
    """What kind of picture an attached one is said to be, where the editor has a model for that kind, and why."""
    enlargers = catalog.of_task("upscale")
    if _DRAWN.search(goal):
        redraws = [model for model in enlargers if re.search(r"\bdrawing\b|anime", f"{model.description} {model.name}")]
        redraws = [model for model in redraws if not _PHOTO.search(model.description)]
        if redraws:
            return editor.CONTENT_KIND_DRAWING, f"It is a drawing, so {redraws[0].name} enlarges it."
    if _PHOTO.search(goal) and enlargers:
        return editor.CONTENT_KIND_PHOTO, "It is a photograph, so a model for photographs enlarges it."
    return editor.CONTENT_KIND_UNSPECIFIED, ""
