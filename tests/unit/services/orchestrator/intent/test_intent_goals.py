"""The trained model on goals written before it was trained, and the tools that measure and seal it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diptych.repository import ModelRepository
from services.orchestrator.intent import IntentModel
from training.intent.labelled import detail_holds, details, own
from training.intent.sealed import seal

HERE = Path(__file__).parent
MODELS = HERE.parents[4] / "models"


@pytest.fixture(scope="module")
def model() -> Iterator[IntentModel]:
    repository = ModelRepository([MODELS])
    if repository.state("diptych-intent") != "READY":
        pytest.skip("the sentence encoder is not here yet: run `diptych models pull diptych-intent`")
    loaded = IntentModel.load(repository.open("diptych-intent").directory)
    yield loaded
    loaded.close()


def test_our_own_goals(model: IntentModel) -> None:
    exact: list[bool] = []
    several: list[bool] = []
    for text, has_image, right in own(HERE / "goals.txt"):
        intent = model.understand(text, has_image=has_image)
        said = (intent.route, tuple(operation.name for operation in intent.operations))
        exact.append(said in right)
        if max(len(names) for _, names in right) > 1:
            several.append(exact[-1])
    assert np.mean(exact) >= 0.82
    assert np.mean(several) >= 0.74


def test_details(model: IntentModel) -> None:
    found = []
    for text, has_image, wanted in details(HERE / "slot_goals.txt"):
        intent = model.understand(text, has_image=has_image)
        found += [detail_holds(intent, *detail) for detail in wanted]
    assert np.mean(found) >= 0.93


def test_limits_and_pictures_reach_the_intent(model: IntentModel) -> None:
    intent = model.understand("brighten both photos, but don't crop them", has_image=True)
    assert [operation.name for operation in intent.operations] == ["color_correct"]
    assert intent.limits == ("don't crop them",) and intent.forbidden == ("crop",)
    assert intent.every_picture


def test_sealing_renews_the_hashes_of_own_files_only(tmp_path: Path) -> None:
    (tmp_path / "head.onnx").write_bytes(b"weights")
    zeros = "0" * 64
    (tmp_path / "manifest.toml").write_text(
        f'[[files]]\npath = "head.onnx"\nsha256 = "{zeros}"\nsource = {{ type = "repository" }}\n\n'
        f'[[files]]\npath = "encoder.onnx"\nsha256 = "{zeros}"\nsource = {{ type = "model", model = "minilm" }}\n'
    )
    seal(tmp_path)
    sealed = (tmp_path / "manifest.toml").read_text()
    assert hashlib.sha256(b"weights").hexdigest() in sealed
    assert sealed.count(zeros) == 1
