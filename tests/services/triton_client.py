"""What NVIDIA's own client sees of a server. Run by the client's environment: `python triton_client.py ADDRESS`, or
with the name of a graph and a folder with its inputs, which gets its outputs.

Every call must work as that client expects; what comes back is one JSON object on stdout, which the test judges.
"""

import json
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException, triton_to_np_dtype


def main(address: str) -> dict[str, Any]:
    """All that the test asks for."""
    with triton.InferenceServerClient(address) as client:
        index = client.get_model_repository_index(as_json=True)
        client.load_model("echo")
        metadata = client.get_model_metadata("echo", as_json=True)
        return {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "loaded": client.is_model_ready("echo"),
            "server": client.get_server_metadata(as_json=True),
            "index": index,
            "metadata": metadata,
            "echoed": echo(client, metadata),
            "stream": stream(client),
            "fault": fault(client),
            "unloaded": unload(client),
            "fields": fields(),
        }


def run(address: str, graph: str, place: str) -> dict[str, Any]:
    """One graph on the arrays of `place`/inputs.npz; its outputs go to `place`/outputs.npz."""
    given = np.load(f"{place}/inputs.npz")
    with triton.InferenceServerClient(address) as client:
        metadata = client.get_model_metadata(graph, as_json=True)
        inputs = []
        for tensor in metadata["inputs"]:
            array = given[tensor["name"]]
            inputs.append(triton.InferInput(tensor["name"], list(array.shape), tensor["datatype"]))
            inputs[-1].set_data_from_numpy(array)
        result = client.infer(graph, inputs)
        np.savez(
            f"{place}/outputs.npz", **{each["name"]: result.as_numpy(each["name"]) for each in metadata["outputs"]}
        )
        return {"server": client.get_server_metadata(as_json=True), "ready": client.is_model_ready(graph)}


def echo(client: triton.InferenceServerClient, metadata: dict[str, Any]) -> dict[str, bool]:
    """Datatype -> whether it comes back as it went."""
    sent, random = {}, np.random.default_rng(0)
    for tensor in metadata["inputs"]:
        dtype = triton_to_np_dtype(tensor["datatype"])
        values = random.integers(0, 2, (3, 2))
        if dtype is np.object_:
            sent[tensor["name"]] = np.array([f"ein {value} ß".encode() for value in values.flat], object).reshape(3, 2)
        else:
            sent[tensor["name"]] = values.astype(dtype) * dtype(1)
    inputs = []
    for tensor in metadata["inputs"]:
        given = triton.InferInput(tensor["name"], [3, 2], tensor["datatype"])
        given.set_data_from_numpy(sent[tensor["name"]])
        inputs.append(given)
    result = client.infer("echo", inputs, request_id="7")
    assert result.get_response().id == "7"
    return {
        tensor["datatype"]: bool((result.as_numpy("out_" + tensor["name"]) == sent[tensor["name"]]).all())
        for tensor in metadata["inputs"]
    }


def double(values: list[float]) -> list[triton.InferInput]:
    """The input of `double`."""
    given = triton.InferInput("x", [1, len(values)], "FP32")
    given.set_data_from_numpy(np.array([values], np.float32))
    return [given]


def stream(client: triton.InferenceServerClient) -> list[Any]:
    """What three requests of a stream give, the second of which names no graph."""
    results: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: results.put((result, error)))
    for model, values in (("double", [1.0, 2.0]), ("nothing", [0.0]), ("double", [3.0])):
        client.async_stream_infer(model, double(values))
    got = [results.get(timeout=60) for _ in range(3)]
    client.stop_stream()
    return [str(error.message()) if error else result.as_numpy("y").tolist() for result, error in got]


def fault(client: triton.InferenceServerClient) -> dict[str, str]:
    """What the client raises for a tensor of the wrong size."""
    try:
        client.infer("pair", double([1.0, 2.0, 3.0]))
    except InferenceServerException as error:
        return {"status": str(error.status()), "message": str(error.message())}
    raise AssertionError("three numbers went into a graph of two")


def unload(client: triton.InferenceServerClient) -> bool:
    """Whether a model is gone after unloading."""
    client.unload_model("double")
    return not client.is_model_ready("double")


def fields() -> dict[str, dict[str, list[Any]]]:
    """Message -> field -> number and type, as this client has them."""
    found: dict[str, dict[str, list[Any]]] = {}

    def look(message: Any) -> None:
        found[message.full_name] = {field.name: [field.number, field.type] for field in message.fields}
        for inner in message.nested_types:
            look(inner)

    for message in service_pb2.DESCRIPTOR.message_types_by_name.values():
        look(message)
    return found


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:]) if len(sys.argv) > 2 else main(sys.argv[1])))
