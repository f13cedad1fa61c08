"""A folder of ONNX graphs taken over as it is: checked, its weights where they can be checked too."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from diptych.diffusion.families import Family
from diptych.errors import DataCorrupted
from diptych.export.from_torch import Made
from diptych.export.parts import class_of
from diptych.export.tokenizers import write_tokenizer
from diptych.export.weights import store_weights
from diptych.repository.verify import check_content


def copy_onnx(
    source: Path, target: Path, family: Family, index: Mapping[str, Any], progress: Callable[[str], None]
) -> Made:
    """Fills `target` with the graphs, configurations and tokenizers of `source`; other files stay behind."""
    parts = ("vae_decoder", "vae_encoder", family.denoiser, *family.encoders)
    for part in parts:
        graph = source / part / "model.onnx"
        if graph.is_file():
            progress(f"Copying {part}")
            _copy_graph(graph, target / part / "model.onnx", label=f"{part}/model.onnx")
    for name in ("model_index.json", "scheduler/scheduler_config.json", *(f"{part}/config.json" for part in parts)):
        if (source / name).is_file():
            check_content(source / name, label=name)
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)
    for part in family.encoders:
        tokenizer = part.replace("text_encoder", "tokenizer")
        if not (target / part).is_dir():
            continue
        kind = class_of(index, tokenizer)
        if (source / tokenizer / "tokenizer.json").is_file() and kind == "Tokenizer":
            (target / tokenizer).mkdir(exist_ok=True)
            shutil.copyfile(source / tokenizer / "tokenizer.json", target / tokenizer / "tokenizer.json")
        else:
            write_tokenizer(source / tokenizer, kind, target / tokenizer)
    return Made()


def _copy_graph(source: Path, target: Path, *, label: str) -> None:
    """Copies a graph; weights that lie beside it, whatever they are called, go into safetensors."""
    check_content(source, label=label)
    target.parent.mkdir(parents=True, exist_ok=True)
    model = onnx.load(source, load_external_data=False)
    outside = [tensor for tensor in model.graph.initializer if uses_external_data(tensor)]
    if not outside:
        shutil.copyfile(source, target)
        return
    for tensor in outside:
        for entry in tensor.external_data:
            if entry.key == "location" and Path(entry.value).name != entry.value:
                raise DataCorrupted(f"{label} points outside its folder", reason="CONTENT_REFUSED")
    try:
        model = onnx.load(source)
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise DataCorrupted(f"{label} lacks weights that should lie beside it", reason="FILE_MISSING") from error
    for tensor in model.graph.initializer:
        if not tensor.raw_data:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    store_weights(model, target)
