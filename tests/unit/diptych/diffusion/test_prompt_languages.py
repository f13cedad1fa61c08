# ruff: noqa: RUF001 - the marks of other scripts are meant
"""Prompts of other languages, read by the default model's lexicon."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.diffusion import Pipeline
from diptych.diffusion.conditioning import Conditioner, single
from diptych.diffusion.languages.lexicon import Lexicon
from diptych.diffusion.languages.translation import Translator
from diptych.errors import FailedPrecondition
from training.generator.languages import english_phrases

ROOT = Path(__file__).parents[4]
TRANSLATOR = Translator(Lexicon.load(ROOT / "models/diptych-icons/lexicon.json"))

READ = """
einen Fuchs = a fox
zeichne einen Fuchs = draw a fox
zwei rote Äpfel = two red apples
eine lächelnde Sonne = a smiling sun
ein roter Apfel auf blauem Hintergrund = a red apple on a blue background
eine Katze und ein Hund = a cat and a dog
drei grüne Bäume = three green trees
ein Haus bei Nacht = a house at night
ein Pferd am Meer = a horse at the sea
eine Brille = glasses
eine orange Katze = an orange cat
die Bären = the bears
ein Baer = a bear
Käsekuchen mit Erdbeeren = cheese cake with strawberries
ein Schnabeltier mit Hut = a Schnabeltier with hat
(roter:1.5) Apfel = (red:1.5) apple
un renard = a fox
deux pommes rouges = two red apples
une pomme rouge sur fond bleu = a red apple on a blue background
un petit chat noir = a small black cat
le chat noir et blanc = the black and white cat
une voiture orange = an orange car
une rose rose = a pink rose
des chevaux = horses
un arc-en-ciel = a rainbow
l’éléphant = the elephant
un elephant bleu = a blue elephant
une tasse de café = a cup of coffee
dos manzanas rojas = two red apples
un coche azul = a blue car
dibuja un coche azul = draw a blue car
un sol sonriente = a smiling sun
dos osos polares = two polar bears
los peces = the fish
una casa de noche = a house at night
un camion verde, una flor rosa = a green truck, a pink flower
dos helados de fresa = two strawberry ice creams
une couronne d'or, des lunettes de soleil = a golden crown, sunglasses
画一只狐狸 = a fox
狐狸 = a fox
两个红苹果 = two red apples
3只猫 = 3 cats
一辆蓝色的汽车 = a blue car
蓝色背景上的红苹果 = a red apple on a blue background
苹果在盘子上 = an apple on a plate
夜晚的房子 = a house at night
一只戴着帽子的猫 = a cat wearing a hat
一只猫和一只狗 = a cat and a dog
"""

# Words of other languages among them: they are English here, or names, or of a language that is not read.
ENGLISH = """
rose | orange | pain | chat | gift | pan | pie | mare | four | chair | sol | rouge | noir | film noir | a cafe
El Greco | a café noir poster | the oranges | a crane over the mer | Klee | skier
a rose, four chairs and a pan | Mona Lisa | a die on a boot | an art deco hotel | a T-shirt | t-rex | (red:1.3) apple
лиса | きつねの絵 | 123 | | !? | \N{FOX FACE} | a fox \N{FOX FACE}
red   apple ,  blue | un
"""

ODD = "ein rote Katzen und , ( : 2) un chat noir 猫 的 上 在 一 只 xyz 's l' - \n"


@pytest.mark.parametrize("line", READ.strip().splitlines())
def test_a_prompt_is_read_in_english(line: str) -> None:
    prompt, _, english = line.partition(" = ")
    assert TRANSLATOR.read(prompt) == english


def test_english_comes_out_as_it_went_in() -> None:
    prompts = {prompt.strip(" ") for line in ENGLISH.splitlines() for prompt in line.split("|")}
    prompts.update((ROOT / "training/generator/prompts.txt").read_text().splitlines())
    concepts = (ROOT / "training/generator/concepts.txt").read_text().splitlines()
    prompts.update(word.strip() for line in concepts for word in re.split(r"\*[\d.]+|[=|,]", line))
    prompts.update(english_phrases(ROOT / "training/intent/phrases")[::7])  # languages.py measures all of them
    assert len(prompts) > 3_000
    assert {prompt: read for prompt in prompts if (read := TRANSLATOR.read(prompt)) != prompt} == {}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(ODD.split(" ")), max_size=12))
def test_no_prompt_is_too_odd_to_read(words: list[str]) -> None:
    read = TRANSLATOR.read(" ".join(words))
    assert read.count("xyz") == words.count("xyz")


def test_a_long_prompt_is_read_at_once() -> None:
    prompt = "zwei grünen au bord de la Bäumen und "
    assert TRANSLATOR.read(prompt * 110).count("two green") == 110


def test_a_model_sees_the_english_words(pipeline: Pipeline) -> None:
    encoders = pipeline._conditioner._encoders
    conditioner = Conditioner(encoders, single, translator=TRANSLATOR)
    states = [conditioner.positive(prompt)["encoder_hidden_states"] for prompt in ("un zorro rojo", "a red fox")]
    assert states[0] is states[1], "the same remembered states"
    assert conditioner.negative("un zorro rojo")["encoder_hidden_states"] is states[0]
    assert conditioner.unseen("ein roter Apfel auf dem Baum am Meer") == "at the sea"
    assert pipeline.read("un zorro rojo") == "un zorro rojo", "a model without a lexicon takes words as they are"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"languages": {"de": {}}}'])
def test_what_is_no_lexicon_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "lexicon.json").write_text(content)
    with pytest.raises(FailedPrecondition, match=r"lexicon\.json is no lexicon"):
        Lexicon.load(tmp_path / "lexicon.json")
