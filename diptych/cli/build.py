"""`diptych models build`: a model made into what an engine runs fastest. No service needs to run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from diptych.cli import terminal
from diptych.errors import FailedPrecondition, FieldViolation, InvalidRequest

if TYPE_CHECKING:
    from diptych.repository import ModelRepository
    from diptych.repository.builds import Build

_COLUMNS = ("build", "MB", "largest error", "mean error", "PSNR", "ms (model's own)", "checked")
Precision = Literal["fp32", "fp16", "int8"]


def build(
    name: Annotated[str, typer.Argument(help="Model to build.", show_default=False)],
    precision: Annotated[Precision, typer.Option(help="Number format of weights and arithmetic.")] = "fp32",
    engine: Annotated[
        Literal["onnx", "mnn", "tensorrt"], typer.Option(help="What shall run it; mnn is for convolutions on a CPU.")
    ] = "onnx",
    target: Annotated[
        str, typer.Option(help="GPUs to build TensorRT engines for, such as sm89,sm120. Default: the one here.")
    ] = "",
    batch: Annotated[str, typer.Option(help="Pictures in one call, LEAST..MOST.", metavar="N..N")] = "1..4",
    resolution: Annotated[
        str, typer.Option(help="Pixels a side, LEAST..MOST. Default: what the model was made for.", metavar="N..N")
    ] = "",
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Diffusers folder of the model: imported if NAME is new, and what the build is compared with.",
        ),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of photographs to compare and calibrate on. Default: scikit-image's.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--models", help="Folder of manifests. Default: DIPTYCH_MODELS, else the clone's.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of pulled files. Default: DIPTYCH_CACHE, else the user's cache.")
    ] = None,
) -> None:
    """Make a model faster: optimised, in another precision, compared with the original before it is kept."""
    try:
        from diptych.export import BuildOptions, ImportOptions, build_model, import_model, read_targets
        from diptych.repository import ModelRepository
        from diptych.repository.places import users_models
    except ModuleNotFoundError as missing:
        raise FailedPrecondition(
            f"builds need {missing.name}, which is not installed; run: pip install 'diptych[serve,export]'",
            reason="NO_EXPORT_EXTRA",
        ) from None
    shapes = _range(batch, "--batch", "1..4") or (1, 4), _range(resolution, "--resolution", "512..1024")
    options = BuildOptions(precision, engine, read_targets(target), *shapes, torch=source, pictures=pictures)
    out = terminal.console(stderr=True)

    def tell(text: str) -> None:
        if not json:
            out.print(text, soft_wrap=True)

    repository = _open(ModelRepository, folder, cache)
    if source is not None and name not in {manifest.name for manifest in repository.manifests()}:
        import_model(source, folder or users_models(), ImportOptions(name), progress=tell)
        repository = _open(ModelRepository, folder, cache)
    made = build_model(repository, name, options, progress=tell)
    if json:
        terminal.print_json([{"folder": path.name, **one.model_dump()} for path, one in made])
        return
    terminal.show_table(terminal.console(), _COLUMNS, [_row(path, one) for path, one in made])


def _open(kind: "type[ModelRepository]", folder: Path | None, cache: Path | None) -> "ModelRepository":
    return kind([folder] if folder else None, cache, users=folder is None)


def _row(path: Path, build: "Build") -> tuple[str, ...]:
    timed = build.milliseconds is not None and build.source_milliseconds is not None
    return (
        path.name,
        f"{sum(part.bytes for part in build.parts) / 1e6:.1f}",
        f"{max((part.max_error for part in build.parts), default=0):.1e}",
        f"{max((part.mean_error for part in build.parts), default=0):.1e}",
        "" if build.psnr is None else f"{build.psnr:.1f} dB",
        f"{build.milliseconds:.1f} ({build.source_milliseconds:.1f})" if timed else "not run here",
        "the engine" if build.checked == "engine" else "its graph; run again where the GPU is",
    )


def _range(text: str, option: str, example: str) -> tuple[int, int] | None:
    """LEAST..MOST, or one number for both; None for no text."""
    if not text:
        return None
    least, _, most = text.partition("..")
    if least.isdigit() and (most or least).isdigit() and 0 < int(least) <= int(most or least):
        return int(least), int(most or least)
    raise InvalidRequest([FieldViolation(option, f"is {text!r}; give LEAST..MOST, such as {example}")])
