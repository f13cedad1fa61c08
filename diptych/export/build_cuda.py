"""A graph made leaner for ONNX Runtime's CUDA provider alone: group normalisation with the activation after it as one
operation, and convolutions with channels last, as tensor cores take them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from diptych.engines.base import Array
from diptych.engines.onnx import OnnxEngine
from diptych.errors import DiptychError
from diptych.export.build_compare import times


def faster_for_cuda(
    model: onnx.ModelProto, sample: Mapping[str, Array], work: Path
) -> tuple[onnx.ModelProto, list[str]]:
    """The graph with what CUDA alone has operations for, and what that is, if it then runs here and is faster; else as
    it is: the operations do not take every number of channels.

    The graph is in half precision, and `work` has room for it twice.
    """
    fused = onnx.ModelProto()
    fused.CopyFrom(model)
    counts = fuse_for_cuda(fused)
    if not counts:
        return model, []
    engines: list[OnnxEngine] = []
    try:
        for name, one in (("portable", model), ("cuda", fused)):
            copy = onnx.ModelProto()
            copy.CopyFrom(one)
            path = work / f"{name}.onnx"
            onnx.save(copy, path, save_as_external_data=True, location=f"{name}.bin", size_threshold=1024)
            engines.append(OnnxEngine(path, preference="onnx", precision="fp16"))
        before, after = times(engines, sample)
    except DiptychError:
        return model, []
    finally:
        for engine in engines:
            engine.close()
        for remains in (*work.glob("portable.*"), *work.glob("cuda.*")):
            remains.unlink()
    return (fused, [f"{count} {name}" for name, count in counts.items()]) if after < before else (model, [])


def fuse_for_cuda(model: onnx.ModelProto) -> dict[str, int]:
    """Fuses in place what CUDA has operations for and a CPU has not; how many of each."""
    # The package has the modules of its fusions on its own path.
    import onnxruntime.transformers  # noqa: F401
    from onnxruntime.transformers.fusion_group_norm import FusionGroupNorm
    from onnxruntime.transformers.onnx_model_unet import UnetOnnxModel

    class Fusion(FusionGroupNorm):  # type: ignore[misc]
        """Scale and shift are single in the operation, whatever the graph has."""

        def add_initializer(self, name: str, data_type: int, dims: list[int], vals: Any, raw: bool = True) -> None:
            super().add_initializer(name, data_type, dims, np.asarray(vals, np.float32), raw)

    graph: Any = UnetOnnxModel(model)
    Fusion(graph, channels_last=True).apply()
    graph.convert_conv_to_nhwc()
    _without_casts(graph)
    graph.merge_adjacent_transpose()
    graph.prune_graph()
    graph.remove_unused_constant()
    graph.topological_sort()
    if not any(entry.domain == "com.microsoft" for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    counts = {name: sum(node.op_type == name for node in model.graph.node) for name in ("GroupNorm", "NhwcConv")}
    return {name: count for name, count in counts.items() if count}


def _without_casts(graph: Any) -> None:
    """Takes away casts before convolutions, put there where the type was not known: it is the weights' throughout."""
    makers = graph.output_name_to_node()
    for node in graph.nodes():
        maker = makers.get(node.input[0]) if node.op_type == "NhwcConv" else None
        if maker is not None and maker.op_type == "Cast":
            node.input[0] = maker.input[0]
