"""The Open Inference Protocol on a real editor and a real generator."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from diptych.engines import open_engine
from diptych.inference import open_inference_pb2 as pb
from diptych.inference import open_inference_pb2_grpc as pb_grpc
from diptych.serving.server import ServiceServer
from services.editor.app import EditorConfig
from services.editor.app import build as build_editor
from services.generator.app import GeneratorConfig, build
from tests.services import editor_house as house
from tests.services.tensor_house import ONNX_TYPES, answer, request, write_graphs

TRITON = Path(__file__).resolve().parents[2] / ".build/triton/bin/python"
NUMPY = {
    "BOOL": "bool", "FP16": "float16", "FP32": "float32", "FP64": "float64",
    **{name: name.lower() for name in ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")},
}  # fmt: skip
TYPED = {
    "BOOL": "bool_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
NAMES = ["double", "echo", "echo-typed", "pair", "total"]
EXTREMES = {"UINT64": [2**64 - 1, 0], "INT64": [-(2**63), 2**63 - 1], "INT8": [-128, 127], "UINT8": [0, 255]}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_graphs(tmp_path_factory.mktemp("graphs"))


@pytest.fixture
async def served(graphs: Path) -> AsyncIterator[tuple[ServiceServer, pb_grpc.GRPCInferenceServiceStub]]:
    async with house.editor(graphs) as (server, channel):
        yield server, pb_grpc.GRPCInferenceServiceStub(channel)


@pytest.fixture
def stub(served: tuple[ServiceServer, pb_grpc.GRPCInferenceServiceStub]) -> Any:
    return served[1]


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


def violations(error: grpc.aio.AioRpcError) -> list[str]:
    fields = (part.partition(":")[0] for part in str(error.details()).split("; "))
    return sorted(field for field in fields if re.fullmatch(r"\w+(\[\d+\])?(\.\w+)?(\[\w+\])?", field))


async def test_what_the_server_and_its_graphs_are(stub: Any) -> None:
    assert (await stub.ServerLive(pb.ServerLiveRequest())).live
    assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
    server = await stub.ServerMetadata(pb.ServerMetadataRequest())
    assert server.name == "diptych-editor" and "model_repository" in server.extensions
    assert not (await stub.ModelReady(pb.ModelReadyRequest(name="double"))).ready
    about = await stub.ModelMetadata(pb.ModelMetadataRequest(name="double"))
    assert (about.name, list(about.versions), about.platform) == ("double", ["1.0"], "onnxruntime")
    assert [(one.name, one.datatype, list(one.shape)) for one in about.inputs] == [("x", "FP32", [-1, -1])]
    assert [(one.name, one.datatype, list(one.shape)) for one in about.outputs] == [("y", "FP32", [-1, -1])]
    assert (await stub.ModelReady(pb.ModelReadyRequest(name="double", version="1.0"))).ready
    everything = await stub.ModelMetadata(pb.ModelMetadataRequest(name="echo"))
    assert [one.datatype for one in everything.inputs] == list(ONNX_TYPES)


TEXTS = [b"\x00", "ß and more".encode(), b"", b"four"]


def echo(model: str, kinds: list[str], *, raw: bool) -> pb.ModelInferRequest:
    """A request with two rows of two elements of each kind."""
    asked = pb.ModelInferRequest(model_name=model, id="abc")
    for kind in kinds:
        given = asked.inputs.add(name=kind.lower(), datatype=kind, shape=[2, 2])
        values = np.array([[0, 1], EXTREMES.get(kind, [1, 0])], NUMPY.get(kind, "uint8"))
        if raw:
            packed = b"".join(len(text).to_bytes(4, "little") + text for text in TEXTS)
            asked.raw_input_contents.append(packed if kind == "BYTES" else values.tobytes())
        elif kind in TYPED:
            getattr(given.contents, TYPED[kind]).extend(TEXTS if kind == "BYTES" else values.ravel().tolist())
    return asked


async def test_every_datatype_comes_back_as_it_went_raw(stub: Any) -> None:
    asked = echo("echo", list(ONNX_TYPES), raw=True)
    response = await stub.ModelInfer(asked)
    assert (response.id, response.model_name, response.model_version) == ("abc", "echo", "1.0")
    assert [output.datatype for output in response.outputs] == list(ONNX_TYPES)
    assert list(response.raw_output_contents) == list(asked.raw_input_contents)


async def test_every_datatype_that_has_a_field_comes_back_as_it_went_typed(stub: Any) -> None:
    asked = echo("echo-typed", list(TYPED), raw=False)
    response = await stub.ModelInfer(asked)
    assert not response.raw_output_contents
    assert [output.datatype for output in response.outputs] == [given.datatype for given in asked.inputs]
    assert [output.contents for output in response.outputs] == [given.contents for given in asked.inputs]


async def test_fp16_has_no_typed_field(stub: Any) -> None:
    error = await refused(stub.ModelInfer(echo("echo", list(ONNX_TYPES), raw=False)))
    assert (error.code(), violations(error)) == (grpc.StatusCode.INVALID_ARGUMENT, ["inputs[9].contents"])
    assert "FP16, which has no typed contents" in str(error.details())


async def test_typed_elements_are_answered_in_kind(stub: Any) -> None:
    response = await stub.ModelInfer(request("double", [1, 2], [3, 4], raw=False))
    assert not response.raw_output_contents
    assert answer(response) == [[2, 4], [6, 8]]
    assert answer(await stub.ModelInfer(request("double", [1, 2], [3, 4]))) == [[2, 4], [6, 8]]


async def test_all_faults_are_named_at_once(stub: Any) -> None:
    asked = pb.ModelInferRequest(model_name="echo")
    asked.parameters["sequence_id"].int64_param = 3
    asked.outputs.add(name="nowhere")
    asked.inputs.add(name="fp32", datatype="FP64", shape=[1, 2])
    asked.inputs.add(name="int8", datatype="INT8", shape=[1, 2]).contents.int_contents.extend([300, 1])
    asked.inputs.add(name="int64", datatype="INT64", shape=[1, 3]).contents.int64_contents.extend([1, 2, 3])
    asked.inputs.add(name="uint8", datatype="UINT8", shape=[1, 2]).contents.uint_contents.extend([1, 2, 3])
    asked.inputs.add(name="bool", datatype="BOOL", shape=[1, 2]).contents.int_contents.extend([1, 0])
    asked.inputs.add(name="stranger", datatype="BOOL", shape=[1])
    asked.inputs.add(name="uint16", datatype="UINT16", shape=[-1, 2])
    asked.inputs.add(name="bytes", datatype="BYTES", shape=[1, 2]).contents.bytes_contents.extend([b"\xff", b"a"])
    asked.inputs.add(name="fp64", datatype="FP64", shape=[1, 2]).parameters["shared_memory_region"].string_param = "x"
    error = await refused(stub.ModelInfer(asked))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    found = violations(error)
    assert {
        "parameters[sequence_id]", "outputs[0].name", "inputs[0].datatype", "inputs[1].contents", "inputs[2].shape",
        "inputs[3].contents", "inputs[4].contents", "inputs[5].name", "inputs[6].shape", "inputs[7].contents",
        "inputs[8].parameters[shared_memory_region]", "inputs",
    } <= set(found)  # fmt: skip
    assert "fp32 is FP64; the graph takes FP32" in str(error.details())


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ([], "raw_input_contents"),
        ([b"123"], r"raw_input_contents\[0\]: x has 3 bytes; FP32 of shape \(1, 2\) has 8"),
        ([b"1" * 8, b""], "has 2 entries for 1 inputs"),
    ],
)
async def test_raw_elements_must_fill_their_shape(stub: Any, raw: list[bytes], fault: str) -> None:
    asked = request("double", [1, 2])
    del asked.raw_input_contents[:]
    asked.raw_input_contents.extend(raw)
    if not raw:
        fault = "has 0 elements"
    error = await refused(stub.ModelInfer(asked))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert re.search(fault, str(error.details()))


@pytest.mark.parametrize("packed", [b"\x05\0\0\0abc", b"\x05\0", b"\x01\0\0\0a" * 3, b"\xff\xff\xff\xff"])
async def test_text_that_breaks_its_own_lengths_is_refused(stub: Any, packed: bytes) -> None:
    asked = pb.ModelInferRequest(model_name="echo")
    for kind in ONNX_TYPES:
        asked.inputs.add(name=kind.lower(), datatype=kind, shape=[1, 2])
        size = np.dtype(NUMPY.get(kind, "uint8")).itemsize
        asked.raw_input_contents.append(packed if kind == "BYTES" else b"\0" * 2 * size)
    error = await refused(stub.ModelInfer(asked))
    assert (error.code(), violations(error)) == (grpc.StatusCode.INVALID_ARGUMENT, ["raw_input_contents[12]"])


async def test_what_is_not_there_is_told_with_what_is(stub: Any) -> None:
    for call in (
        stub.ModelInfer(request("nothing", [1])),
        stub.ModelInfer(request("double", [1], version="9")),
        stub.ModelReady(pb.ModelReadyRequest(name="double.unet")),
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="nothing")),
    ):
        error = await refused(call)
        assert error.code() == grpc.StatusCode.NOT_FOUND
        assert "double" in str(error.details())


async def test_calls_that_come_together_run_together(
    served: tuple[ServiceServer, pb_grpc.GRPCInferenceServiceStub],
) -> None:
    server, stub = served
    await stub.ModelInfer(request("double", [0]))
    results = await asyncio.gather(*(stub.ModelInfer(request("double", [n, 1], [n, 2])) for n in range(8)))
    assert [answer(one) for one in results] == [[[2 * n, 2], [2 * n, 4]] for n in range(8)]
    calls = server.telemetry.registry.get_sample_value("diptych_batch_rows_count", {"service": "editor"})
    rows = server.telemetry.registry.get_sample_value("diptych_batch_rows_sum", {"service": "editor"})
    assert rows == 9
    assert calls is not None and calls < 9, "every call ran alone"


async def test_an_output_without_a_batch_axis_is_each_callers_own(stub: Any) -> None:
    results = await asyncio.gather(*(stub.ModelInfer(request("total", [n], [n])) for n in range(6)))
    assert [answer(one) for one in results] == [[[2 * n]] for n in range(6)]


async def test_a_stream_answers_in_order_and_goes_on_after_a_fault(stub: Any) -> None:
    async def ask() -> AsyncIterator[pb.ModelInferRequest]:
        for number in range(40):
            yield request("nothing" if number == 7 else "double", [number])

    answers = [each async for each in stub.ModelStreamInfer(ask())]
    assert answers[7].error_message.startswith("[NOT_FOUND] this service has no graph 'nothing'")
    assert answers[7].infer_response.id == "1"
    rest = [each for number, each in enumerate(answers) if number != 7]
    assert [answer(each.infer_response) for each in rest] == [[[2 * n]] for n in range(40) if n != 7]
    assert all(each.infer_response.parameters["triton_final_response"].bool_param for each in rest)


async def test_loading_and_unloading(stub: Any) -> None:
    async def states() -> dict[str, str]:
        index = await stub.RepositoryIndex(pb.RepositoryIndexRequest())
        return {model.name: model.state for model in index.models}

    assert await states() == dict.fromkeys(NAMES, "UNAVAILABLE")
    await stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="double@1.0"))
    await stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="pair"))
    assert (await states())["double"] == "READY"
    ready = await stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))
    assert [model.name for model in ready.models] == ["double", "pair"]
    unload = pb.RepositoryModelUnloadRequest(model_name="double")
    unload.parameters["unload_dependents"].bool_param = True
    await stub.RepositoryModelUnload(unload)
    assert (await states())["double"] == "UNAVAILABLE"
    load = pb.RepositoryModelLoadRequest(model_name="double")
    load.parameters["config"].string_param = "{}"
    assert violations(await refused(stub.RepositoryModelLoad(load))) == ["parameters[config]"]


async def test_limits_and_access_are_those_of_the_service(graphs: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ada:{hashlib.sha256(b'secret').hexdigest()}\n")
    async with house.editor(graphs, max_running=1, max_queue=0, tokens_file=tokens) as (_, channel):
        stub: Any = pb_grpc.GRPCInferenceServiceStub(channel)
        assert (await refused(stub.ModelInfer(request("double", [1])))).code() == grpc.StatusCode.UNAUTHENTICATED
        access = (("authorization", "Bearer secret"),)
        await stub.ModelInfer(request("double", [1]), metadata=access)
        results = await asyncio.gather(
            *(stub.ModelInfer(request("double", [n]), metadata=access) for n in range(12)), return_exceptions=True
        )
    codes = {one.code() for one in results if isinstance(one, grpc.aio.AioRpcError)}
    assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert any(isinstance(one, pb.ModelInferResponse) for one in results)


async def test_while_it_drains_it_is_live_and_not_ready_and_the_stream_is_finished(graphs: Path) -> None:
    server = await build_editor(EditorConfig(port=0, models=graphs, threads=1))
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = pb_grpc.GRPCInferenceServiceStub(channel)
        call = stub.ModelStreamInfer()
        await call.write(request("double", [1]))
        await call.read()
        stopping = asyncio.create_task(server.stop())
        while server.lifecycle.accepts_work:
            await asyncio.sleep(0)
        assert (await stub.ServerLive(pb.ServerLiveRequest())).live
        assert not (await stub.ServerReady(pb.ServerReadyRequest())).ready
        assert (await refused(stub.ModelInfer(request("double", [1])))).code() == grpc.StatusCode.UNAVAILABLE
        await call.write(request("double", [4]))
        assert answer((await call.read()).infer_response) == [[8]]
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF
        await stopping


def denoiser(models: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What the tiny generator's UNet is asked, and its answer."""
    engine = open_engine(models / "tiny/unet/model.onnx", threads=1)
    random = np.random.default_rng(3)
    inputs = {
        spec.name: random.random([size if isinstance(size, int) else 2 for size in spec.shape]).astype(spec.dtype)
        for spec in engine.inputs
    }
    (expected,) = engine.run(inputs).values()
    return inputs, expected


async def test_a_generators_graphs_run_alone(tiny_models: Path) -> None:
    config = GeneratorConfig(port=0, models=tiny_models, model="tiny", threads=1)
    inputs, expected = denoiser(tiny_models)
    async with await build(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = pb_grpc.GRPCInferenceServiceStub(channel)
        index = await stub.RepositoryIndex(pb.RepositoryIndexRequest())
        assert {model.name for model in index.models if model.state == "READY"} >= {
            "tiny.text_encoder", "tiny.unet", "tiny.vae_decoder"
        }  # fmt: skip
        about = await stub.ModelMetadata(pb.ModelMetadataRequest(name="tiny.unet"))
        assert {tensor.name for tensor in about.inputs} == inputs.keys()
        asked = pb.ModelInferRequest(model_name="tiny.unet")
        for tensor in about.inputs:
            array = inputs[tensor.name]
            asked.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=array.shape)
            asked.raw_input_contents.append(array.tobytes())
        response = await stub.ModelInfer(asked)
        assert (await refused(stub.ModelInfer(request("tiny", [1])))).code() == grpc.StatusCode.NOT_FOUND
    np.testing.assert_allclose(answer(response), expected, rtol=1e-4, atol=1e-5)


async def seen_by_nvidias_client(*arguments: str) -> dict[str, Any]:
    child = await asyncio.create_subprocess_exec(
        str(TRITON), str(Path(__file__).with_name("triton_client.py")), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={"PATH": "", "PYTHONPATH": ""},
    )  # fmt: skip
    out, err = await asyncio.wait_for(child.communicate(), 240)
    assert child.returncode == 0, err.decode()
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.skipif(not TRITON.exists(), reason="the client's environment is not made; run: make .build/triton")
async def test_nvidias_client_runs_a_generators_graph(tiny_models: Path, tmp_path: Path) -> None:
    inputs, expected = denoiser(tiny_models)
    np.savez(tmp_path / "inputs.npz", **inputs)
    config = GeneratorConfig(port=0, models=tiny_models, model="tiny", threads=1)
    async with await build(config) as server:
        seen = await seen_by_nvidias_client(server.address, "tiny.unet", str(tmp_path))
    assert (seen["server"]["name"], seen["ready"]) == ("diptych-generator", True)
    (found,) = np.load(tmp_path / "outputs.npz").values()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not TRITON.exists(), reason="the client's environment is not made; run: make .build/triton")
async def test_nvidias_client_works_unchanged(served: tuple[ServiceServer, Any]) -> None:
    server, _ = served
    seen = await seen_by_nvidias_client(server.address)
    assert (seen["live"], seen["ready"], seen["loaded"], seen["unloaded"]) == (True, True, True, True)
    assert seen["server"]["name"] == "diptych-editor"
    assert {model["name"] for model in seen["index"]["models"]} == set(NAMES)
    assert seen["metadata"]["platform"] == "onnxruntime"
    assert seen["echoed"] == dict.fromkeys(ONNX_TYPES, True)
    assert seen["stream"][::2] == [[[2.0, 4.0]], [[6.0]]]
    assert "no graph 'nothing'" in seen["stream"][1]
    assert seen["fault"]["status"] == "StatusCode.INVALID_ARGUMENT"
    assert "inputs[0].shape" in seen["fault"]["message"]
    for name, fields in _fields(pb.DESCRIPTOR.message_types_by_name.values()).items():
        theirs = seen["fields"][name]
        assert {field: theirs.get(field) for field in fields} == fields, name


def _fields(messages: Any) -> dict[str, dict[str, list[int]]]:
    found = {}
    for message in messages:
        found[message.full_name] = {field.name: [field.number, field.type] for field in message.fields}
        found.update(_fields(message.nested_types))
    return found
