"""A diffusers folder exported part by part, one part in memory at a time."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from diptych.diffusion.families import Family
from diptych.diffusion.folder import CONTROL_KINDS
from diptych.errors import DataCorrupted, FailedPrecondition
from diptych.export import ip_adapter, modules, sd3
from diptych.export.graph import Graph, export_graph
from diptych.export.lora import Adapters
from diptych.export.parts import check_weights, class_of, load_part, read_json
from diptych.export.previews import fit_preview_map
from diptych.export.tokenizers import write_tokenizer

_COPIED = ("_class_name", "_diffusers_version", "force_zeros_for_empty_prompt")


@dataclass(frozen=True)
class Wishes:
    """What is asked beside the plain export: see `ImportOptions`."""

    controlnets: Mapping[str, Path] = field(default_factory=dict)
    loras: Sequence[tuple[Path, float]] = ()
    clip_skip: int = 0
    tolerance: float = 1e-3
    ip_adapter: Path | None = None


@dataclass(frozen=True)
class Made:
    """What came of it: each part's difference to torch, the preview map, and what was put in."""

    differences: Mapping[str, float] = field(default_factory=dict)
    preview: tuple[list[list[float]], list[float]] | None = None
    control_kinds: tuple[str, ...] = ()
    num_loras: int = 0
    has_ip_adapter: bool = False


@dataclass
class _Export:
    """One export under way."""

    source: Path
    target: Path
    family: Family
    index: Mapping[str, Any]
    wishes: Wishes
    adapters: Adapters
    progress: Callable[[str], None]
    differences: dict[str, float] = field(default_factory=dict)

    def write(self, graph: Graph) -> None:
        self.progress(f"Exporting {graph.part}")
        try:
            difference = export_graph(graph, self.target / graph.part, tolerance=self.wishes.tolerance)
        except (RuntimeError, ValueError, TypeError, LookupError) as error:
            raise FailedPrecondition(
                f"{graph.part} cannot be exported: {str(error)[:200]}; look at its config.json", reason="EXPORT_FAILED"
            ) from error
        self.differences[graph.part] = difference

    def config(self, part: str, module: Any, **more: Any) -> None:
        text = module.config.to_json_string() if hasattr(module.config, "to_json_string") else module.to_json_string()
        content = {key: value for key, value in {**json.loads(text), **more}.items() if key != "_name_or_path"}
        path = self.target / part / "config.json"
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def text(self) -> int:
        """Exports tokenizers and text encoders; the number of text tokens that the denoiser gets."""
        tokens = {part: self._encoder(part) for part in self.family.encoders if _has(self.index, part)}
        if self.family.denoiser == "transformer":  # T5's follow CLIP's, zeros where there is no T5.
            return tokens["text_encoder"] + self.family.t5_length
        return tokens["text_encoder"]

    def _encoder(self, part: str) -> int:
        tokenizer = part.replace("text_encoder", "tokenizer")
        module = load_part(self.source, part)
        write_tokenizer(
            self.source / tokenizer,
            class_of(self.index, tokenizer),
            self.target / tokenizer,
            vocabulary=int(module.config.vocab_size),
        )
        self.adapters.merge_into(part, module)
        if module.config.to_dict().get("use_attention_mask"):
            raise FailedPrecondition(f"{part} wants an attention mask, which is not served", reason="UNSUPPORTED_MODEL")
        skip = self.wishes.clip_skip
        most = int(module.config.num_hidden_layers) - (2 if self.family.penultimate else 1)
        if skip > most and type(module).__name__ != "T5EncoderModel":
            raise FailedPrecondition(
                f"{part} has too few layers to leave out {skip}; leave out {most} at most", reason="UNSUPPORTED_MODEL"
            )
        graph = text_graph(module, part, self.family, clip_skip=skip)
        self.write(graph)
        self.config(part, module, clip_skip=skip)
        return int(graph.inputs["input_ids"].shape[1])

    def pictures(self) -> tuple[list[list[float]], list[float]]:
        """Exports the autoencoder; the preview map fitted to it."""
        vae = load_part(self.source, "vae")
        if vae.config.get("latents_mean") is not None:
            raise FailedPrecondition("vae has latents_mean, which is not served", reason="UNSUPPORTED_MODEL")
        scale = vae.config.get("scaling_factor")
        if not isinstance(scale, int | float) or not 0 < scale < math.inf:
            raise DataCorrupted(
                f"vae/config.json has scaling_factor {scale}; it is a number above 0", reason="CONTENT_REFUSED"
            )
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.write(modules.vae_decoder(vae))
        self.write(modules.vae_encoder(vae, factor))
        for part in ("vae_decoder", "vae_encoder"):
            self.config(part, vae)
        return fit_preview_map(vae, factor)

    def denoiser(self, tokens: int) -> None:
        """Exports the denoiser and what holds it to given pictures."""
        part = self.family.denoiser
        module = load_part(self.source, part)
        self.adapters.merge_into(part, module)
        nets = {kind: load_part(_net_folder(self.source, path), "") for kind, path in self.wishes.controlnets.items()}
        if part == "transformer":
            graph = sd3.transformer(module, tokens=tokens, residuals=self._sd3_controlnets(nets, module, tokens))
        else:
            _refuse_unserved(module.config)
            for kind, net in nets.items():
                self.write(modules.controlnet(net, kind, tokens=tokens))
            adapter = self._adapt(module)
            one = next(iter(nets.values()), None)
            graph = modules.unet(module, tokens=tokens, residuals_of=one, adapter=adapter)
        for kind, net in nets.items():
            self.config(f"controlnet/{kind}", net)
        self.write(graph)
        self.config(part, module)

    def _sd3_controlnets(self, nets: Mapping[str, Any], denoiser: Any, tokens: int) -> int:
        """Exports them; how many tensors they add."""
        vae = read_json(self.source / "vae/config.json", "vae/config.json")
        offset = float(vae.get("shift_factor") or 0.0) * float(vae["scaling_factor"])
        for kind, net in nets.items():
            self.write(sd3.controlnet(net, kind, denoiser, tokens=tokens, offset=offset))
        return max((int(net.config.num_layers) for net in nets.values()), default=0)

    def _adapt(self, unet: Any) -> ip_adapter.Installed | None:
        """Puts in the IP-Adapter and exports what reads its pictures."""
        file = self.wishes.ip_adapter
        if file is None:
            return None
        adapter = ip_adapter.install(unet, file, [file.parent / ip_adapter.PART, self.source / ip_adapter.PART])
        self.write(ip_adapter.image_encoder(adapter))
        settings = json.dumps(ip_adapter.settings(adapter), indent=2)
        (self.target / ip_adapter.PART / "config.json").write_text(settings + "\n", encoding="utf-8")
        return adapter


def text_graph(module: Any, part: str, family: Family, *, clip_skip: int) -> Graph:
    """A text encoder as its family wants it."""
    if type(module).__name__ == "T5EncoderModel":
        return modules.t5_states(module, part, tokens=family.t5_length)
    if family.penultimate:
        return modules.clip_penultimate(module, part, clip_skip=clip_skip)
    return modules.clip_states(module, part, clip_skip=clip_skip)


def export_torch(
    source: Path,
    target: Path,
    family: Family,
    index: Mapping[str, Any],
    wishes: Wishes,
    progress: Callable[[str], None],
) -> Made:
    """Fills the folder `target` with the ONNX layout of the diffusers folder `source`."""
    _check(family, index, wishes)
    _check_controlnets(source, family, wishes.controlnets)
    for part in (*family.encoders, "vae", family.denoiser):
        if _has(index, part):  # All of them before the work of the first.
            check_weights(source / part, part)
    export = _Export(source, target, family, index, wishes, Adapters.read(wishes.loras), progress)
    generator = torch.random.get_rng_state()
    torch.manual_seed(0)
    try:
        tokens = export.text()
        preview = export.pictures()
        export.denoiser(tokens)
    finally:
        torch.random.set_rng_state(generator)
    export.adapters.check_all_merged()
    scheduler = read_json(source / "scheduler/scheduler_config.json", "scheduler/scheduler_config.json")
    (target / "scheduler").mkdir()
    (target / "scheduler/scheduler_config.json").write_text(json.dumps(scheduler, indent=2) + "\n", encoding="utf-8")
    parts = sorted(path.name for path in target.iterdir())
    kept = {key: index[key] for key in _COPIED if key in index}
    layout = {**kept, **{part: ["diptych", part] for part in parts}}
    (target / "model_index.json").write_text(json.dumps(layout, indent=2) + "\n", encoding="utf-8")
    return Made(
        export.differences, preview, tuple(sorted(wishes.controlnets)), len(wishes.loras), wishes.ip_adapter is not None
    )


def _has(index: Mapping[str, Any], part: str) -> bool:
    return bool(class_of(index, part))


def _check(family: Family, index: Mapping[str, Any], wishes: Wishes) -> None:
    if not family.exported:
        raise FailedPrecondition(f"models of the family {family.title} come as ONNX", reason="UNSUPPORTED_MODEL")
    missing = [part for part in (*family.encoders, "vae", family.denoiser) if not _has(index, part)]
    missing = [part for part in missing if part != "text_encoder_3"]
    if missing or index.get("requires_aesthetics_score"):
        raise FailedPrecondition(
            f"the model lacks {', '.join(missing) or 'a size that it was not trained to be told'}; "
            "refiners and parts of a pipeline are not served",
            reason="UNSUPPORTED_MODEL",
        )
    unknown = [kind for kind in wishes.controlnets if kind not in CONTROL_KINDS]
    if wishes.ip_adapter is not None and family.denoiser != "unet":
        raise FailedPrecondition(
            f"IP-Adapters are served for UNets, not for {family.title}", reason="UNSUPPORTED_MODEL"
        )
    if unknown:
        raise FailedPrecondition(
            f"ControlNets are served as {', '.join(CONTROL_KINDS)}; given: {', '.join(wishes.controlnets)}",
            reason="UNSUPPORTED_MODEL",
        )


def _check_controlnets(source: Path, family: Family, controlnets: Mapping[str, Path]) -> None:
    """Refuses those of another family, and those that cannot be added up, by their configurations."""
    wanted = "SD3ControlNetModel" if family.denoiser == "transformer" else "ControlNetModel"
    layers = {}
    for kind, path in controlnets.items():
        config = read_json(_net_folder(source, path) / "config.json", f"controlnet {kind}'s config.json")
        if (found := config.get("_class_name")) != wanted:
            raise FailedPrecondition(
                f"controlnet {kind} is a {found}; one for {family.title} is a {wanted}", reason="UNSUPPORTED_MODEL"
            )
        if config.get("extra_conditioning_channels"):
            raise FailedPrecondition(
                f"controlnet {kind} wants {config['extra_conditioning_channels']} further channels beside its picture, "
                "which are not served",
                reason="UNSUPPORTED_MODEL",
            )
        layers[kind] = config.get("num_layers")
    if len(set(layers.values())) > 1:
        raise FailedPrecondition(
            f"the controlnets {', '.join(layers)} have {', '.join(map(str, layers.values()))} layers; give those that "
            "have as many",
            reason="UNSUPPORTED_MODEL",
        )


def _net_folder(source: Path, path: Path) -> Path:
    return path if path.is_absolute() or path.is_dir() else source / path


def _refuse_unserved(config: Any) -> None:
    """Refuses UNets that want to be told more than is served."""
    for option, served in {
        "class_embed_type": (None,),
        "addition_embed_type": (None, "text_time"),
        "encoder_hid_dim_type": (None,),
        "num_class_embeds": (None,),
    }.items():
        if config.get(option) not in served:
            raise FailedPrecondition(
                f"unet has {option} {config.get(option)!r}, which is not served", reason="UNSUPPORTED_MODEL"
            )
