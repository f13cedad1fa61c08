"""Weights from a hub and from S3, over real sockets: whole, cut off and gone on with, wrong, forbidden, not there."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from diptych.errors import DataCorrupted, DiptychError, FailedPrecondition, NotFound
from diptych.repository.hub import choose_files
from diptych.repository.sources import fetch_model
from tests.unit.diptych.repository.conftest import Workbench, onnx_bytes, sha256
from tests.weight_server import COMMIT, Shelf, hub

GRAPH = onnx_bytes() + b"\x3a\x00" * 40_000  # Longer, and still a model: empty graphs are merged into it.
LARGE = f"cdn/{sha256(GRAPH)}"


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    from huggingface_hub import constants

    with hub({}, monkeypatch) as shelf:
        # The client writes a chunk at a time; what a broken connection loses is less than one.
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
        monkeypatch.setenv("AWS_ENDPOINT_URL", shelf.url)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield shelf


def write_manifest(workbench: Workbench, source: str, content: bytes = GRAPH) -> None:
    workbench.manifest("net", f'[[files]]\npath = "model.onnx"\nsha256 = "{sha256(content)}"\nsource = {source}\n')


HUB = '{ type = "hub", repository = "ada/net", path = "unet/model.onnx" }'
S3 = '{ type = "object", url = "s3://weights/nets/model.onnx" }'
KINDS = pytest.mark.parametrize(
    ("source", "path", "place"),
    [(HUB, LARGE, "hub:ada/net@main"), (S3, "weights/nets/model.onnx", "s3://weights/nets")],
    ids=["hub", "s3"],
)


def fill(shelf: Shelf, content: bytes = GRAPH) -> None:
    shelf.hub["ada/net"] = {"unet/model.onnx": content, "small.json": b"{}"}
    shelf.buckets["weights"] = {"nets/model.onnx": content}


@KINDS
def test_a_file_arrives_and_leaves_nothing_else(
    workbench: Workbench, shelf: Shelf, source: str, path: str, place: str
) -> None:
    fill(shelf)
    write_manifest(workbench, source)
    repository = workbench.repository()
    assert repository.state("net") == "NOT_PULLED"
    repository.pull("net")
    assert repository.open("net").path("model.onnx").read_bytes() == GRAPH
    assert repository.get("net").sources == (place,)
    assert [name for name in workbench.shelf("net") if name.startswith(".")] == []
    assert shelf.ranges(path) in ([""], ["bytes=0-"])


@KINDS
def test_what_was_cut_off_goes_on_where_it_stopped_in_the_next_pull(
    workbench: Workbench, shelf: Shelf, source: str, path: str, place: str
) -> None:
    fill(shelf)
    write_manifest(workbench, source)
    shelf.cuts[path], shelf.closed[path] = 50_000, 403
    with pytest.raises(FailedPrecondition):
        workbench.repository().pull("net")
    assert workbench.repository().state("net") == "NOT_PULLED"
    del shelf.closed[path]
    shelf.asked.clear()
    told: list[str] = []
    workbench.repository().pull("net", progress=told.append)  # Nothing but the disk is left of the first pull.
    assert workbench.repository().open("net").path("model.onnx").read_bytes() == GRAPH
    (span,) = shelf.ranges(path)
    assert 30_000 < int(span.removeprefix("bytes=").removesuffix("-")) <= 50_000
    assert any("from 0.0 MB on" in sentence or "from 0.1 MB on" in sentence for sentence in told)


@KINDS
def test_bytes_that_are_not_the_promised_ones_are_not_kept(
    workbench: Workbench, shelf: Shelf, source: str, path: str, place: str
) -> None:
    fill(shelf)
    write_manifest(workbench, source)
    shelf.lies[path] = GRAPH[:-1] + b"\x01"
    with pytest.raises(DataCorrupted):
        workbench.repository().pull("net")
    assert workbench.repository().state("net") == "NOT_PULLED"
    if source is HUB:
        # The hub's own hash was wrong, so the bytes went at once and the next pull asks for all of them.
        shelf.lies.clear()
        workbench.repository().pull("net")


def test_an_object_that_changed_meanwhile_is_fetched_anew(workbench: Workbench, shelf: Shelf) -> None:
    fill(shelf, b"\x3a\x00" + GRAPH)
    write_manifest(workbench, S3)
    path = "weights/nets/model.onnx"
    shelf.cuts[path], shelf.closed[path] = 50_000, 403
    with pytest.raises(FailedPrecondition):
        workbench.repository().pull("net")
    shelf.closed.clear()
    shelf.asked.clear()
    fill(shelf)
    workbench.repository().pull("net")
    assert shelf.ranges(path) in ([""], ["bytes=0-"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (HUB.replace("ada/net", "ada/gone"), "no repository ada/gone"),
        (HUB.replace("path", 'revision = "v9", path'), "no revision v9"),
        (HUB.replace("unet/model.onnx", "vae/model.onnx"), "no file vae/model.onnx"),
        (S3.replace("model.onnx", "other.onnx"), "no object at s3://weights/nets/other.onnx"),
        (S3.replace("weights", "elsewhere"), "no object at s3://elsewhere"),
    ],
)
def test_what_is_not_there_is_named(workbench: Workbench, shelf: Shelf, source: str, message: str) -> None:
    fill(shelf)
    write_manifest(workbench, source)
    with pytest.raises(NotFound, match=message):
        workbench.repository().pull("net")


def test_terms_and_tokens(workbench: Workbench, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(shelf)
    write_manifest(workbench, HUB)
    shelf.token = "hf_secret"
    with pytest.raises(FailedPrecondition, match="set HF_TOKEN"):
        workbench.repository().pull("net")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    workbench.repository().pull("net")


@KINDS
def test_a_pickle_from_afar_is_refused(workbench: Workbench, shelf: Shelf, source: str, path: str, place: str) -> None:
    pickled = b"\x80\x04" + b"K\x01" * 4000 + b"."
    fill(shelf, pickled)
    write_manifest(workbench, source, pickled)
    with pytest.raises(DataCorrupted, match="pickle"):
        workbench.repository().pull("net")


def test_a_diffusers_repository_comes_without_pickles_and_with_each_weight_once(shelf: Shelf, tmp_path: Path) -> None:
    big = b"w" * 2000
    shelf.hub["ada/sd"] = {
        "model_index.json": b"{}",
        "README.md": b"# words",
        "sd.safetensors": big,
        "unet/config.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors": big,
        "unet/diffusion_pytorch_model.fp16.safetensors": big + b"h",
        "unet/diffusion_pytorch_model.bin": big + b"p",
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.fp16.safetensors": big + b"v",
        "tokenizer/vocab.json": b"{}",
        "tokenizer/merges.txt": b"a b",
    }
    told: list[str] = []
    folder = fetch_model(f"hub:ada/sd@{COMMIT}", tmp_path, told.append)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
    }
    told.clear()
    fetch_model("hub:ada/sd", tmp_path, told.append)
    assert told == [], "what is here already was fetched again"
    (folder / "unet/config.json").write_bytes(b"{}\n")
    fetch_model("hub:ada/sd", tmp_path, told.append)
    assert len(told) == 1 and (folder / "unet/config.json").read_bytes() == b"{}"


def test_a_folder_below_a_prefix(shelf: Shelf, tmp_path: Path) -> None:
    shelf.buckets["weights"] = {"mine/model_index.json": b"{}", "mine/unet/model.onnx": GRAPH, "others/x": b"x"}
    folder = fetch_model("s3://weights/mine", tmp_path, print)
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {"model_index.json": b"{}", "unet/model.onnx": GRAPH}
    with pytest.raises(NotFound, match="nothing at s3://weights/theirs"):
        fetch_model("s3://weights/theirs", tmp_path, print)


def test_a_hub_that_lists_a_way_out_is_not_followed(shelf: Shelf, tmp_path: Path) -> None:
    shelf.hub["ada/sd"] = {"model_index.json": b"{}", "../../outside.json": b"{}"}
    with pytest.raises(DataCorrupted, match="outside"):
        fetch_model("hub:ada/sd", tmp_path, print)


def test_a_hub_that_is_not_there(workbench: Workbench, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    write_manifest(workbench, HUB)
    with pytest.raises(DiptychError, match="check the network"):
        workbench.repository().pull("net")


def test_a_part_with_shards_of_two_precisions() -> None:
    names = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.fp16-00001-of-00002.safetensors",
    ]
    assert choose_files([f"text_encoder/{name}" for name in names]) == {f"text_encoder/{name}" for name in names[:2]}
    assert json.dumps(sorted(choose_files(["a.ckpt", "unet/x.bin", "unet/x.pt"]))) == "[]"
