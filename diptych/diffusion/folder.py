"""A pipeline from a folder in the ecosystem's ONNX layout.

model_index.json                        which family, see `families`
unet/ or transformer/                   model.onnx, config.json: latents, timestep, text states and more -> prediction
vae_decoder/model.onnx  config.json     latent_sample -> sample, RGB in -1..1
vae_encoder/model.onnx                  optional: sample -> latent_sample, or mean and log variance of it
text_encoder/ text_encoder_2/ ...       model.onnx, config.json
tokenizer/ tokenizer_2/ ...             tokenizer.json
scheduler/scheduler_config.json
controlnet/KIND/model.onnx              optional, KIND one of edges, depth, pose
image_encoder/model.onnx  config.json   optional: a reference picture -> tokens that the denoiser takes beside the text
lexicon.json                            optional: words of other languages, in the model's English
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from diptych.diffusion import conditioning
from diptych.diffusion.conditioning import Combination, Conditioner
from diptych.diffusion.control import ControlNets
from diptych.diffusion.denoiser import Denoiser, SampleGraph
from diptych.diffusion.families import Family, family_of
from diptych.diffusion.languages.lexicon import Lexicon
from diptych.diffusion.languages.translation import Translator
from diptych.diffusion.latents import Autoencoder
from diptych.diffusion.pipeline import Defaults, Pipeline
from diptych.diffusion.preview import PreviewMap
from diptych.diffusion.references import TOKENS, References
from diptych.diffusion.schedules import ScheduleSettings
from diptych.diffusion.text import TextEncoder
from diptych.engines import Engine, open_engine
from diptych.engines.base import Precision
from diptych.engines.machine import cores
from diptych.engines.providers import GPU_PROVIDERS
from diptych.engines.select import Built, EngineChoice
from diptych.errors import FailedPrecondition

CONTROL_KINDS = ("depth", "edges", "pose")
# A denoiser call is filled up to one sample a thread (see SampleGraph), so more threads than this only burn power.
_MOST_THREADS = 8
# A blank picture of the native size is drawn whenever a model is opened.
_MOST_CELLS = 1024
_GRAPH = "model.onnx"


def open_pipeline(
    directory: Path,
    defaults: Defaults,
    *,
    engine: EngineChoice = "auto",
    threads: int = 0,
    precision: Precision = "fp32",
    preview_map: PreviewMap | None = None,
    batch_sizes: Sequence[int] = (),
    built: Mapping[str, Built] | None = None,
    around: Callable[[str, Engine], Engine] = lambda _, engine: engine,
) -> Pipeline:
    """The pipeline of the model in `directory`; `threads` for each graph, 0 for as many as this process may use;
    `batch_sizes` that its denoiser takes, any when empty.

    `built`: files that run instead of the folder's, by the path of the ONNX file that they were built of. `around`: is
    given every engine with that path, and gives the one to use.
    FailedPrecondition names what is missing or not served, DataCorrupted a graph that cannot be read.
    """
    index = _read(directory, "model_index.json")
    family = family_of(index)
    threads = threads or min(cores(), _MOST_THREADS)
    graphs = _Graphs(directory, engine, threads, precision, batch_sizes, built or {}, around)
    config = _read(directory, config_name := f"{family.denoiser}/config.json")
    denoiser = Denoiser(graphs.sampled(family.denoiser))
    present = [part for part in family.encoders if (directory / part / _GRAPH).is_file()] or list(family.encoders[:1])
    encoders = [_text_encoder(directory, part, graphs.open(part), family, denoiser) for part in present]
    vae = _read(directory, "vae_decoder/config.json")
    return Pipeline(
        conditioner=Conditioner(
            encoders,
            _combination(denoiser, config, family),
            translator=_translator(directory),
            zero_negative=bool(index.get("force_zeros_for_empty_prompt")),
        ),
        denoiser=denoiser,
        autoencoder=Autoencoder(
            graphs.open("vae_decoder"),
            graphs.open("vae_encoder") if "vae_encoder" in index else None,
            channels=int(_value(vae, "latent_channels", "vae_decoder/config.json")),
            scaling_factor=float(_value(vae, "scaling_factor", "vae_decoder/config.json")),
            shift_factor=float(vae.get("shift_factor") or 0.0),
        ),
        schedules=ScheduleSettings(
            _read(directory, "scheduler/scheduler_config.json"), family.even_sigmas, family.fixed_schedule
        ),
        defaults=defaults,
        latent_size=_latent_size(_value(config, "sample_size", config_name)),
        cell_multiple=_cell_multiple(config),
        controlnets=ControlNets(
            {
                kind: graphs.sampled(f"controlnet/{kind}")
                for kind in CONTROL_KINDS
                if (directory / "controlnet" / kind / _GRAPH).is_file()
            }
        ),
        references=_references(directory, graphs.open("image_encoder")) if TOKENS in denoiser.inputs else None,
        preview_map=preview_map,
        engines=graphs.opened,
    )


class _Graphs:
    """Opens the graphs of a model; `opened` has them by their folder."""

    def __init__(
        self,
        directory: Path,
        choice: EngineChoice,
        threads: int,
        precision: Precision,
        batch_sizes: Sequence[int],
        built: Mapping[str, Built],
        around: Callable[[str, Engine], Engine],
    ) -> None:
        self.opened: dict[str, Engine] = {}
        self._batch_sizes = batch_sizes
        self._directory = directory
        self._choice = choice
        self._threads = threads
        self._precision = precision
        self._built = built
        self._around = around

    def open(self, part: str) -> Engine:
        """The graph in the folder `part`."""
        name = f"{part}/{_GRAPH}"
        if not (self._directory / name).is_file():
            raise _missing(name)
        engine = open_engine(
            self._directory / name,
            choice=self._choice,
            threads=self._threads,
            precision=self._precision,
            built=self._built.get(name),
        )
        self.opened[part] = self._around(name, engine)
        return self.opened[part]

    def sampled(self, part: str) -> SampleGraph:
        """The same, called for many samples at once. What a GPU gives is equal within a tolerance only, so no call is
        filled up there."""
        engine = self.open(part)
        least = 1 if engine.provider in GPU_PROVIDERS else max(2, self._threads)
        return SampleGraph(engine, least_batch=least, batch_sizes=self._batch_sizes)


def _text_encoder(directory: Path, part: str, engine: Engine, family: Family, denoiser: Denoiser) -> TextEncoder:
    path = part.replace("text_encoder", "tokenizer") + "/tokenizer.json"
    if not (directory / path).is_file():
        raise _missing(path)
    config = _read(directory, f"{part}/config.json") if (directory / part / "config.json").is_file() else {}
    outputs = {spec.name: len(spec.shape) for spec in engine.outputs}
    is_t5 = "T5" in "".join(config.get("architectures") or ())
    penultimate = family.penultimate and not is_t5
    if penultimate:
        layers = int(_value(config, "num_hidden_layers", f"{part}/config.json"))
        states = f"hidden_states.{layers - 1 - int(config.get('clip_skip') or 0)}"
    else:
        states = next((name for name, axes in outputs.items() if name == "last_hidden_state" or axes == 3), "")
    if states not in outputs:
        raise FailedPrecondition(
            f"{part} gives {', '.join(outputs)}; wanted is {states or 'an output of shape (B, T, D)'}",
            reason="UNSUPPORTED_MODEL",
        )
    pooled = next((name for name in ("text_embeds", "pooler_output") if name in outputs and penultimate), None)
    tokens = {spec.name: spec.shape for spec in engine.inputs}.get("input_ids", ())[-1:]
    lengths = (
        *tokens,
        denoiser.text_length if len(family.encoders) == 1 else None,
        family.t5_length if is_t5 else None,
        config.get("max_position_embeddings"),
    )
    length = next((size for size in lengths if isinstance(size, int)), None)
    if length is None:
        raise FailedPrecondition(
            f"neither {part} nor the denoiser says how many text tokens it takes; export one with a fixed number",
            reason="UNSUPPORTED_MODEL",
        )
    return TextEncoder(Tokenizer.from_file(str(directory / path)), engine, length=length, states=states, pooled=pooled)


def _translator(directory: Path) -> Translator | None:
    path = directory / "lexicon.json"
    return Translator(Lexicon.load(path)) if path.is_file() else None


def _references(directory: Path, encoder: Engine) -> References:
    name = "image_encoder/config.json"
    config = _read(directory, name)
    size, num_layers = (int(_value(config, key, name)) for key in ("image_size", "num_layers"))
    return References(encoder, size=size, num_layers=num_layers, style_layers=_value(config, "style_layers", name))


def _combination(denoiser: Denoiser, config: Mapping[str, Any], family: Family) -> Combination:
    if "text_embeds" in denoiser.inputs:
        return conditioning.side_by_side
    if "pooled_projections" in denoiser.inputs:
        width = int(_value(config, "joint_attention_dim", f"{family.denoiser}/config.json"))
        return conditioning.stacked(width, family.t5_length)
    return conditioning.single


def _latent_size(sample_size: Any) -> tuple[int, int]:
    match sample_size if isinstance(sample_size, list) else [sample_size, sample_size]:
        case [int(height), int(width)] if min(height, width) > 0 and max(height, width) <= _MOST_CELLS:
            return height, width
    raise FailedPrecondition(
        f"the denoiser's sample_size is {sample_size!r}; served are 1 to {_MOST_CELLS} cells a side",
        reason="UNSUPPORTED_MODEL",
    )


def _cell_multiple(config: Mapping[str, Any]) -> int:
    """What latents' sides must be multiples of: each level of a UNet halves them, a transformer takes patches."""
    if "patch_size" in config:
        return int(config["patch_size"])
    return int(2 ** (len(config.get("block_out_channels") or (0,)) - 1))


def _read(directory: Path, name: str) -> dict[str, Any]:
    path = directory / name
    if not path.is_file():
        raise _missing(name)
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise FailedPrecondition(f"{name} holds no JSON object; pull its model again", reason="UNSUPPORTED_MODEL")
    return content


def _value(content: Mapping[str, Any], key: str, name: str) -> Any:
    if key not in content:
        raise FailedPrecondition(f"{name} lacks {key}; add it", reason="UNSUPPORTED_MODEL")
    return content[key]


def _missing(name: str) -> FailedPrecondition:
    return FailedPrecondition(f"the model has no {name}; pull it again", reason="FILE_MISSING")
