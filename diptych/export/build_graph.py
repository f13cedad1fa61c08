"""A graph made leaner for ONNX Runtime: constants folded, patterns of nodes fused into single operations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from diptych.engines.base import Array
from diptych.export.build_attention import fuse_attention

# Operators whose weights are integers already: such a graph is left as it is.
_QUANTIZED = {"MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "QuantizeLinear", "QLinearConv", "QLinearMatMul"}


def simplify(source: Path, work: Path) -> onnx.ModelProto:
    """The graph of `source` after ONNX Runtime's basic optimisations, its weights in memory, every operator standard.

    Whatever can be computed beforehand is: weights stored in fewer bits come out as the numbers that they stand for.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    work.mkdir(parents=True, exist_ok=True)
    target = work / "simplified.onnx"
    options.optimized_model_filepath = str(target)
    # Beside the graph, for a file of more than 2 GB cannot be written.
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "simplified.bin")
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    model = onnx.load(target)
    for remains in work.glob("simplified.*"):
        remains.unlink()
    used = {node.domain for node in _nodes(model.graph)} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def fuse(model: onnx.ModelProto, samples: Mapping[str, Array], work: Path) -> dict[str, int]:
    """Fuses attention, normalisation with the sum before it, and GELU in place; how many of each. `samples`: inputs
    to learn the shapes of heads from."""
    counts = {"MultiHeadAttention": fuse_attention(model, samples, work)}
    # The package has the modules of its fusions on its own path.
    import onnxruntime.transformers  # noqa: F401
    from onnxruntime.transformers.fusion_gelu import FusionGelu
    from onnxruntime.transformers.fusion_layernorm import FusionLayerNormalization
    from onnxruntime.transformers.fusion_skiplayernorm import FusionSkipLayerNormalization
    from onnxruntime.transformers.onnx_model import OnnxModel

    graph: Any = OnnxModel(model)
    FusionLayerNormalization(graph).apply()
    FusionGelu(graph).apply()
    # Without its inference of symbolic shapes, which takes minutes: the result is compared with the model anyway.
    FusionSkipLayerNormalization(graph, shape_infer=False).apply()
    graph.topological_sort()
    graph.prune_graph()
    for name in ("LayerNormalization", "SkipLayerNormalization", "Gelu"):
        counts[name] = sum(node.op_type == name for node in model.graph.node)
    if any(node.domain == "com.microsoft" for node in model.graph.node) and not any(
        entry.domain == "com.microsoft" for entry in model.opset_import
    ):
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return {name: count for name, count in counts.items() if count}


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether the graph computes with integers already."""
    return any(node.op_type in _QUANTIZED for node in _nodes(model.graph))


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    found = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += _nodes(attribute.g)
    return found
