"""Goals as they are written, packed and trained on."""

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from services.orchestrator.intent.clauses import parts_of
from services.orchestrator.intent.ordering import worded
from training.intent import vectors
from training.intent.dataset import LANGUAGES, Foreigner, drawn_behind, goals, measured, read_phrases
from training.intent.exported import load_state, save_state
from training.intent.goals import OPERATIONS, Writer
from training.intent.grammar import Grammar, Phrase, Pieces, parse
from training.intent.network import IntentHead
from training.intent.samples import OF_TOKENS, SLOTS, load
from training.intent.train import Goals


@pytest.fixture(scope="module")
def grammars() -> dict[str, Grammar]:
    return read_phrases()


def test_every_template_names_lists_and_slots_that_there_are(grammars: dict[str, Grammar]) -> None:
    rng = random.Random(3)
    tagged = {*SLOTS, "angle", "duration", "scale", "count", "size"}
    for language, grammar in grammars.items():
        for (name, kind), templates in grammar.sections.items():
            if name == "join" or language == "frames":
                continue
            assert name in (*OPERATIONS, "clarify", "video", "look", "chain"), (language, name, kind)
            for template in templates:
                for _ in range(4):
                    pieces = grammar.expand(template, rng)
                    assert "".join(text for text, _ in pieces).strip("§ "), (language, name, kind)
                    assert {slot for _, slot in pieces if slot} <= tagged


def test_goals_are_the_same_for_a_seed_and_their_labels_as_long_as_their_text() -> None:
    one, two = list(goals(300, "3/0")), list(goals(300, "3/0"))
    assert [goal.phrase.text for goal in one] == [goal.phrase.text for goal in two]
    for goal in one:
        assert len(goal.phrase.text) == len(goal.phrase.slots) == len(goal.phrase.operations)
        assert len(set(goal.operations)) == len(goal.operations)
    told = {name for goal in one for name in goal.operations}
    assert len(told) > 20


def test_everyday_goals_edit_in_the_words_of_most_people(grammars: dict[str, Grammar]) -> None:
    everyday = read_phrases(everyday=True)
    for language in ("en", *LANGUAGES):
        usual, all_of_them = (found[language].sections for found in (everyday, grammars))
        assert len(usual["crop", "do"]) < len(all_of_them["crop", "do"]), language
        assert usual["generate", "do"] == all_of_them["generate", "do"]


def test_what_is_done_to_a_drawing_often_names_it_by_a_pronoun(grammars: dict[str, Grammar]) -> None:
    for language in LANGUAGES:
        foreigner = Foreigner(grammars[language], language, random.Random(4))
        with_pronouns = {foreigner.request("remove_background", 0, drawn=True).text for _ in range(60)}
        without = {foreigner.act("remove_background", "after").text for _ in range(60)}
        assert with_pronouns & without, language


def test_goals_that_the_head_is_measured_on_are_left_out() -> None:
    kept_out = measured()
    assert {"ghibli style", "先把照片调亮 再裁成正方形", "sharpen", "sepia"} <= kept_out and len(kept_out) > 300
    written = {re.sub(r"[\W_]+", " ", goal.phrase.text.lower()).strip() for goal in goals(3000, "7/0")}
    assert not written & kept_out


def test_what_a_foreign_goal_does_not_want_is_no_operation(grammars: dict[str, Grammar]) -> None:
    for language in LANGUAGES:
        writer = Foreigner(grammars[language], language, random.Random(1))
        unwanted = writer.unwanted(["remove_object"])
        assert unwanted.text and set(unwanted.operations) == {None}
        assert "composite" in writer.among and "generate" not in writer.among


def _written(grammar: Grammar, language: str, names: list[str], frame: str) -> Phrase:
    """The requests as the one frame joins them."""
    grammar = Grammar(grammar.lists, {**grammar.sections, ("join", "two"): list(parse(frame))})
    return Foreigner(grammar, language, random.Random(4)).fit(names)


@pytest.mark.parametrize(
    ("language", "names", "frame", "told"),
    [
        ("de", ["remove_object", "rotate"], "bevor wir J, bitte I", r"bevor wir (?!bitte).+, bitte \S.+"),
        ("de", ["denoise", "crop"], "sobald E, B", r"sobald .*(?:Rauschen|entrauscht|Bild).* ist, \S.+"),
        ("fr", ["add_object", "deblur"], "avant de N, pense à M", r"avant d(?:e [^aeiou]|'[aeiou]).+, pense à \S.+"),
        ("es", ["remove_object", "crop"], "una vez E, B", r"una vez (?:quitad|borrad|eliminad).+, \S.+"),
        ("zh", ["upscale", "crop"], "E之后再B", r"\S+之后再\S+"),
    ],
)
def test_a_foreign_frame_is_filled_with_the_form_it_asks_for(
    grammars: dict[str, Grammar], language: str, names: list[str], frame: str, told: str
) -> None:
    phrase = _written(grammars[language], language, names, frame)
    assert re.fullmatch(told, phrase.text), phrase.text
    assert {name for name in phrase.operations if name} == set(names)


def test_english_articles_are_put_right_in_english_alone() -> None:
    pieces: Pieces = [("geh näher an das Auto", None)]
    assert Phrase.of(pieces, "crop", english=False).text == "geh näher an das Auto"
    assert Phrase.of([("add a owl", None)], "add_object").text == "add an owl"


def test_a_background_drawn_on_purpose_is_two_operations(grammars: dict[str, Grammar]) -> None:
    rng = random.Random(2)
    for name in (*LANGUAGES, "frames"):
        for _ in range(20):
            phrase = drawn_behind(grammars[name], rng)
            assert "§" not in phrase.text
            assert set(phrase.operations) == {"generate", "replace_background"}, phrase.text
            drawn = {at for at, slot in enumerate(phrase.slots) if slot == "prompt"}
            assert {phrase.operations[at] for at in drawn} <= {"generate"}, phrase.text
            assert drawn or name == "frames", phrase.text


def _folder(folder: Path) -> Path:
    """Two parts, the second goal of the second also in the first."""
    count = len(OPERATIONS)
    for part, sizes, keys in (("part-00", [3, 5], [1, 2]), ("part-01", [4, 5], [3, 2])):
        (folder / part).mkdir()
        tokens = sum(sizes)
        rng = np.random.default_rng(len(part))
        present = np.zeros((2, count + 1), bool)
        present[:, 3] = True
        arrays: dict[str, Any] = {
            "ids": rng.integers(0, 30, tokens).astype(np.int32), "groups": np.ones((tokens, 14), np.int16),
            "tags": np.full(tokens, 3, np.int8), "slots": np.full(tokens, 1, np.int8), "sizes": np.array(sizes),
            "has_image": np.array([True, False]), "present": present, "rank": np.zeros((2, count), np.int8) - 1,
            "known": np.array([True, False]), "english": np.array([True, True]), "keys": np.array(keys),
        }  # fmt: skip
        for name, array in arrays.items():
            np.save(folder / part / f"{name}.npy", array)
    return folder


def _encoder(path: Path) -> Path:
    """An encoder whose vectors are a table of 30 pieces, each full of its own number, where all are seen."""
    table = np.repeat(np.arange(30, dtype=np.float32)[:, None], 384, 1)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["looked up"]),
        helper.make_node("Add", ["attention_mask", "token_type_ids"], ["seen"]),
        helper.make_node("Cast", ["seen"], ["share"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["share", "last"], ["wide"]),
        helper.make_node("Mul", ["looked up", "wide"], ["last_hidden_state"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", 384])]
    weights = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([2]), "last")]
    graph = helper.make_graph(nodes, "encoder", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def _goals(folder: Path) -> Goals:
    """The goals of two parts with their vectors."""
    encoder = _encoder(folder / "encoder.onnx")
    for part in sorted(_folder(folder).glob("part-*")):
        vectors.write(part, encoder)
    return Goals(folder, encoder, "cpu")


def test_a_goal_in_two_parts_is_kept_once(tmp_path: Path) -> None:
    found = load(_folder(tmp_path))
    assert sorted(found["keys"].tolist()) == [1, 2, 3]
    assert all(len(found[name]) == found["sizes"].sum() == 12 for name in OF_TOKENS if name in found)


def test_vectors_are_those_of_the_encoder_for_each_goal(tmp_path: Path) -> None:
    written = _goals(tmp_path)
    found = load(tmp_path)
    assert found["tokens"].dtype == np.float16 and found["tokens"].shape == (12, 384)
    assert np.array_equal(found["tokens"][:, 5], found["ids"])
    batch = written.batch(torch.tensor([1]), 5)
    of_second = found["tokens"][found["sizes"][0] :][: found["sizes"][1], 0]
    assert batch["tokens"][0, : found["sizes"][1], 0].tolist() in (of_second.tolist(), [0.0] * len(of_second))


def test_batches_pad_on_the_device_and_hide_what_is_not_known(tmp_path: Path) -> None:
    written = _goals(tmp_path)
    batch = written.batch(torch.tensor([0, 1, 2]), 5)
    sizes = torch.from_numpy(written.sizes)
    assert batch["mask"].sum(1).tolist() == sizes.tolist()
    assert torch.all((batch["tags"] == -100) | (batch["mask"] == 1))
    assert (batch["tags"] != -100).sum(1).tolist() == (sizes - 2).tolist()  # neither the first nor the last piece
    unknown = ~written.on_device["known"]
    assert batch["weight"][unknown].sum(1).tolist() == [1.0] * int(unknown.sum())
    assert sum(len(each["mask"]) for each in written.batches(2, np.random.default_rng(0))) == 3


@pytest.mark.parametrize(("width", "layers"), [(32, 1), (64, 3)])
def test_saved_weights_make_the_same_head(tmp_path: Path, width: int, layers: int) -> None:
    head = IntentHead(len(OPERATIONS), len(SLOTS), width=width, layers=layers).eval()
    save_state(head, tmp_path)
    again = load_state(tmp_path / "head.npz")
    feed = (torch.randn(2, 7, 384), torch.randint(0, 99, (2, 7, 14)), torch.ones(2), torch.ones(2, 7))
    for one, two in zip(head(*feed), again(*feed), strict=True):
        assert torch.equal(one, two)


def test_every_letter_of_a_frame_becomes_a_request() -> None:
    """A letter left standing would teach the head that it asks for something."""
    stray = re.compile(r"(?<![\w'])(?:[ABCDEFGHSX]|[BH]2)(?![\w'])")
    several = [goal for goal in goals(6000, "9/1") if len(goal.operations) > 1 and goal.language == "en"]
    assert len(several) > 1000
    odd = [goal.phrase.text for goal in several if len(stray.findall(goal.phrase.text)) > 1]
    odd = [text for text in odd if not text.isupper() and not re.search(r"(?:image|photo|picture) [AB]\b", text)]
    assert odd == []


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_the_words_alone_tell_the_order_that_goals_are_drawn_with(grammars: dict[str, Grammar], language: str) -> None:
    """The rules of order overrule the head, so they must know every way in which the phrases tell one."""
    rng = random.Random(9)
    judged = wrong = 0
    while judged < 150:
        if language == "en":
            writer = Writer(grammars["en"], grammars["frames"], rng)
            phrase, names = writer.several(fragments=True)
        else:
            goal = Foreigner(grammars[language], language, rng).goal(True)
            phrase, names = goal.phrase, goal.operations
        parts = parts_of(phrase.text)
        held = [[phrase.operations[part.start : part.end].count(name) for part in parts] for name in names]
        home = [row.index(max(row)) for row in held if max(row)]
        if len(names) < 2 or len(set(home)) < len(names):
            continue
        order = worded(phrase.text, parts)
        judged += 1
        wrong += sorted(home, key=order.index) != home
    assert wrong <= 8
