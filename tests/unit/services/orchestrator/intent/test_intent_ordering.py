# ruff: noqa: RUF001 - the marks of other scripts are meant
"""The order of wishes as the words of a goal tell it."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.orchestrator.intent.clauses import parts_of
from services.orchestrator.intent.ordering import worded

ACTS = ["crop it", "remove the car", "sharpen the eyes", "make it black and white", "enlarge it 2x", "whiten the teeth"]
# In each frame {0} is wanted before {1}.
FRAMES = [
    "{0}, then {1}",
    "{0}. After that, {1}.",
    "{0}, afterwards {1}",
    "{1}, but first {0}",
    "{1}. But before that, {0}.",
    "before you {1}, {0}",
    "after you {0}, {1}",
    "once you {0}, {1}",
    "{1} once you {0}",
    "{1} only after you {0}",
    "{1} as soon as you {0}",
    "don't {1} until you {0}",
    "{1} at the end; start by: {0}",
    "{1} as the last step, {0}",
    "first {0}, then {1}",
    "{0}, finally {1}",
    "{0} before you {1}",
    "{0} -> {1}",
    "{1}, but {0} before",
    "{1}, but not before you {0}",
    "{1}, though only once you {0}",
    "{0}. When that is done, {1}.",
    "{0}, and when that's done {1}",
    "{1}. Before that, though, {0}.",
    "so, prior to that, {0}; {1} afterwards",
    "{1} later, {0} up front",
    "{0}, after which {1}",
    "{0}, after which you {1}",
    "{0}, upon which {1}",
    "{1}; before that though, {0}",
    "{0} plus {1}",
]
# Here {0} and {1}, in this order, before {2}.
FRAMES_OF_THREE = [
    "{2}, but first {0} and {1}",
    "{2}, but before that {0}, then {1}",
    "{2}. But first {0}, and {1} after that.",
    "{0} and {1} first, {2} after",
    "{0} and {1} before you {2}",
    "before you {2}, {0} and {1}",
    "before you {2}, {0}, then {1}",
    "{0} and {1}. When done, {2}.",
    "{0}. Fix that first, then {1}, then {2}",
    "{2} at the very end; before it {0}, {1}",
]


def _order(goal: str, first: str, second: str) -> list[str]:
    parts = parts_of(goal)
    texts = [goal[parts[i].start : parts[i].end] for i in worded(goal, parts)]
    return [act for text in texts for act in (first, second) if act in text]


@pytest.mark.parametrize("frame", FRAMES)
def test_every_frame_tells_its_order(frame: str) -> None:
    for first, second in itertools.permutations(ACTS, 2):
        goal = frame.format(first, second)
        assert _order(goal, first, second) == [first, second], goal


@pytest.mark.parametrize("frame", FRAMES_OF_THREE)
def test_frames_of_three_tell_their_order(frame: str) -> None:
    for acts in itertools.permutations(ACTS, 3):
        goal = frame.format(*acts)
        parts = parts_of(goal)
        texts = [goal[parts[i].start : parts[i].end] for i in worded(goal, parts)]
        assert [act for text in texts for act in acts if act in text] == list(acts), goal


def test_what_follows_an_act_twice_joined_follows_both() -> None:
    goal = "crop it and sharpen the eyes once you remove the car"
    parts = parts_of(goal)
    texts = [goal[parts[i].start : parts[i].end].strip() for i in worded(goal, parts)]
    assert texts == ["once you remove the car", "crop it", "and sharpen the eyes"]


@pytest.mark.parametrize(
    ("goal", "first", "second"),
    [
        ("vergrößern erst nach dem Entrauschen", "Entrauschen", "vergrößern"),
        ("schneide es zu, aber nicht bevor du es geschärft hast", "geschärft", "schneide es zu"),
        ("recadre-la, mais seulement après avoir éclairci le visage", "éclairci", "recadre"),
        ("agrándala, pero solo después de quitar el ruido", "quitar el ruido", "agrándala"),
        ("recórtala, pero antes endereza el horizonte", "endereza", "recórtala"),
        ("加边框以前请先放大", "放大", "加边框"),
        ("①去噪②放大", "去噪", "放大"),
        ("没去噪之前别放大", "去噪", "放大"),
        ("先别放大，先去噪", "去噪", "放大"),
        ("放大留到最后，先去噪", "去噪", "放大"),
        ("放大是第二步，去噪是第一步", "去噪", "放大"),
        ("sharpen it, naturally after you have cropped it", "cropped it", "sharpen it"),
        ("sharpen it, but never before cropping it", "cropping it", "sharpen it"),
        ("sharpen it as the second step, crop it as the first step", "crop it", "sharpen it"),
        ("crop it as preparation for printing, in advance of enlarging it", "crop it", "enlarging it"),
        ("schärfen, selbstverständlich erst nach dem Zuschneiden", "Zuschneiden", "schärfen"),
        ("kein Zuschneiden vor dem Schärfen", "Schärfen", "Zuschneiden"),
        ("Zuschneiden und erst danach Schärfen", "Zuschneiden", "Schärfen"),
        ("inutile de la recadrer avant d'enlever le bruit", "enlever le bruit", "recadrer"),
        ("recadre-la en second, enlève le bruit en premier", "enlève le bruit", "recadre-la"),
        ("recórtala, por supuesto una vez quitado el ruido", "quitado el ruido", "recórtala"),
        ("no intentes recortarla antes de quitar el ruido", "quitar el ruido", "recortarla"),
        ("放大，在这之前去噪", "去噪", "放大"),
        ("放大放在最后，先裁剪", "裁剪", "放大"),
        ("erst entrauschen, danach vergrößern", "entrauschen", "vergrößern"),
        ("bevor du es schärfst, schneide den Rand ab", "Rand ab", "schärfst"),
        ("vergrößern, aber vorher entrauschen", "entrauschen", "vergrößern"),
        ("recadre-la, mais d'abord éclaircis-la", "éclaircis", "recadre"),
        ("antes de recortar, quita el ruido", "quita el ruido", "recortar"),
        ("先调亮，再裁剪", "调亮", "裁剪"),
        ("裁剪，不过在那之前先摆正", "摆正", "裁剪"),
        ("调亮，在此之后裁剪", "调亮", "裁剪"),
        ("aclara la foto, después de lo cual recorta", "aclara", "recorta"),
        ("recadre, mais juste avant redresse-la", "redresse", "recadre"),
        ("éclaircis, après quoi recadre", "éclaircis", "recadre"),
    ],
)
def test_other_languages(goal: str, first: str, second: str) -> None:
    assert _order(goal, first, second) == [first, second]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_ordered_whole(goal: str) -> None:
    parts = parts_of(goal) if goal else []
    assert sorted(worded(goal, parts)) == list(range(len(parts)))


@pytest.mark.parametrize("goal", ["rends-la plus lumineuse", "mets un peu plus de contraste", "hazla más clara"])
def test_more_is_no_joining_word(goal: str) -> None:
    assert len(parts_of(goal)) == 1


def test_a_first_picture_is_no_first_step() -> None:
    assert _order("sharpen it and crop the first picture", "sharpen it", "crop") == ["sharpen it", "crop"]
