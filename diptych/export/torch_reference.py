"""What the torch modules of a diffusers folder answer, as the reference for what was made of it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from diptych.diffusion.families import family_of
from diptych.engines.base import Array
from diptych.errors import FailedPrecondition
from diptych.export import modules, sd3
from diptych.export.from_torch import text_graph
from diptych.export.graph import Graph
from diptych.export.parts import load_part, read_json

# Only what a graph is traced with depends on it, and nothing is traced here.
_TOKENS = 77


def torch_answers(
    source: Path, samples: Mapping[str, Sequence[Mapping[str, Array]]]
) -> dict[str, list[Mapping[str, Array]]]:
    """For each ONNX file of `samples` the outputs of the module in `source` that it was exported from, one module in
    memory at a time. FailedPrecondition when they take other inputs: then the model is not of that folder."""
    found: dict[str, list[Mapping[str, Array]]] = {}
    for graph in _graphs(source):
        path = f"{graph.part}/model.onnx"
        if path in samples:
            found[path] = [_answer(graph, one) for one in samples[path]]
    missing = sorted(set(samples) - set(found))
    if missing:
        raise FailedPrecondition(
            f"{source.name} has no module for {', '.join(missing)}; give the folder that the model was imported from",
            reason="NO_TORCH",
        )
    return found


def _graphs(source: Path) -> Iterator[Graph]:
    index = read_json(source / "model_index.json", "model_index.json; give the folder of a whole pipeline")
    family = family_of(index)
    for part in family.encoders:
        if (index.get(part) or (None,))[0]:
            yield text_graph(load_part(source, part), part, family, clip_skip=0)
    vae = load_part(source, "vae")
    yield modules.vae_decoder(vae)
    yield modules.vae_encoder(vae, 2 ** (len(vae.config.block_out_channels) - 1))
    denoiser = load_part(source, family.denoiser)
    make = sd3.transformer if family.denoiser == "transformer" else modules.unet
    yield make(denoiser, tokens=_TOKENS)


def _answer(graph: Graph, sample: Mapping[str, Array]) -> Mapping[str, Array]:
    unknown = sorted(set(sample) ^ set(graph.inputs))
    if unknown:
        raise FailedPrecondition(
            f"{graph.part} of the model and of the torch folder differ in the inputs {', '.join(unknown)}; a model "
            "with ControlNets is compared with its ONNX files only",
            reason="NO_TORCH",
        )
    with torch.inference_mode():
        answer = graph.module.eval()(*(torch.from_numpy(sample[name]) for name in graph.inputs))
    outputs = [answer] if isinstance(answer, Tensor) else list(answer)
    return {name: output.numpy() for name, output in zip(graph.outputs, outputs, strict=True)}
