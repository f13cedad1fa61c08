"""A graph made leaner for ONNX Runtime's CUDA provider alone: group normalisation with the activation after it as one
operation, and convolutions with channels last, as tensor cores take them."""

from typing import Any

import onnx


def fuse_for_cuda(model: onnx.ModelProto) -> dict[str, int]:
    """Fuses in place what CUDA has operations for and a CPU has not; how many of each."""
    # The package has the modules of its fusions on its own path.
    import onnxruntime.transformers  # noqa: F401
    from onnxruntime.transformers.fusion_group_norm import FusionGroupNorm
    from onnxruntime.transformers.onnx_model_unet import UnetOnnxModel

    graph: Any = UnetOnnxModel(model)
    FusionGroupNorm(graph, channels_last=True).apply()
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
    """Takes away casts before convolutions, put there where the type was not known: it is single throughout."""
    makers = graph.output_name_to_node()
    for node in graph.nodes():
        maker = makers.get(node.input[0]) if node.op_type == "NhwcConv" else None
        if maker is not None and maker.op_type == "Cast":
            node.input[0] = maker.input[0]
