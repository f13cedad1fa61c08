"""A model that was built for MNN is served by MNN, and answers as it did before."""

from pathlib import Path

import numpy as np
import pytest

from diptych.engines.machine import mnn_version
from diptych.errors import FailedPrecondition
from diptych.export import BuildOptions, build_model
from diptych.export.build_compare import Tolerance
from diptych.repository import ModelRepository
from diptych.repository.builds import write_build
from tests.services import editor_house as house

pytestmark = pytest.mark.skipif(not mnn_version(), reason="the extra mnn is not installed")


async def denoised(root: Path) -> tuple[np.ndarray, str]:
    """A picture without noise, and the engine that the record names."""
    pixels = np.random.default_rng(4).integers(60, 200, (48, 64, 3), dtype=np.uint8)
    async with house.editor(root) as (_, channel):
        after, answer = await house.edit(channel, pixels, house.operation("denoise", strength=1.0, model="ffdnet"))
    return after, answer.records[0].models[0].engine


async def test_a_build_is_served_and_answers_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_BUILDS", str(tmp_path / "builds"))
    root = house.write_models(tmp_path / "models")
    before, engine = await denoised(root)
    assert engine == "onnxruntime"
    ((folder, build),) = build_model(ModelRepository([root]), "ffdnet", BuildOptions(engine="mnn"))
    assert (build.checked, build.key.engine, build.provider) == ("engine", "mnn", "CPU")
    (part,) = build.parts
    assert part.path == "model.mnn" and part.max_error < 1e-5 and part.company_error == 0
    # A graph this small gains nothing; one that was measured to gain is what is served.
    write_build(folder, build.model_copy(update={"milliseconds": 1.0, "source_milliseconds": 2.0}))
    after, engine = await denoised(root)
    assert engine == "mnn"
    assert np.abs(after.astype(int) - before).max() <= 1


def test_a_build_beyond_its_tolerance_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_BUILDS", str(tmp_path / "builds"))
    repository = ModelRepository([house.write_models(tmp_path / "models")])
    for options, fault in (
        (BuildOptions(engine="mnn", tolerance=Tolerance(0, 0, 200.0)), "the build is not kept"),
        (BuildOptions(engine="mnn", precision="int8"), "MNN builds are fp32"),
        (BuildOptions(engine="mnn", targets=("sm89",)), "targets are for --engine tensorrt"),
    ):
        with pytest.raises(FailedPrecondition, match=fault):
            build_model(repository, "ffdnet", options)
    assert list(repository.open("ffdnet").builds.glob("mnn*")) == []
