"""`diptych models list|pull|verify|import`: the models on this machine. No service needs to run."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import terminal
from diptych.cli.failures import FAILED, exit_code, report
from diptych.cli.options import AsJson
from diptych.errors import DiptychError, FailedPrecondition, InvalidRequest, ModelNotPulled

if TYPE_CHECKING:
    from diptych.repository import ModelRepository

models = typer.Typer(no_args_is_help=True, help="List, obtain, check and import the models on this machine.")

Names = Annotated[list[str] | None, typer.Argument(help="Models; none means all.", show_default=False)]
Folder = Annotated[
    Path | None, typer.Option("--models", help="Folder of manifests. Default: DIPTYCH_MODELS, else the clone's.")
]
Cache = Annotated[
    Path | None, typer.Option(help="Folder of pulled files. Default: DIPTYCH_CACHE, else the user's cache.")
]


@models.command("list")
def list_models(json: AsJson = False, folder: Folder = None, cache: Cache = None) -> None:
    """List the models, their kind, licence, and whether their files are here."""
    repository = _open(folder, cache)
    found = [(manifest, repository.state(manifest.name)) for manifest in repository.manifests()]
    if json:
        terminal.print_json(
            [
                {
                    "name": manifest.name,
                    "version": manifest.version,
                    "kind": manifest.kind,
                    "task": manifest.task,
                    "license": manifest.license,
                    "requires_acceptance": manifest.requires_acceptance,
                    "state": state,
                    "description": manifest.description,
                    "origin": manifest.origin,
                }
                for manifest, state in found
            ]
        )
        return
    rows = [(m.name, m.version, m.kind, m.task, m.license, state) for m, state in found]
    columns = ("model", "version", "kind", "task", "licence", "state")
    terminal.show_table(terminal.console(), columns, rows)


@models.command()
def pull(
    names: Names = None,
    accept_license: Annotated[
        list[str] | None, typer.Option(help="Licence that you accept, such as AGPL-3.0; repeat for more.", metavar="ID")
    ] = None,
    json: AsJson = False,
    folder: Folder = None,
    cache: Cache = None,
) -> None:
    """Obtain models: all of them, or those named. What is already here is not fetched again."""
    repository = _open(folder, cache)
    out = terminal.console(stderr=True)

    def tell(sentence: str) -> None:
        if not json:
            out.print(sentence, soft_wrap=True)

    def act(name: str) -> str:
        return str(repository.pull(name, accept_licenses=accept_license or (), progress=tell))

    _each(repository, names, act, as_json=json)


@models.command()
def verify(names: Names = None, json: AsJson = False, folder: Folder = None, cache: Cache = None) -> None:
    """Read every file of the models again and compare its hash. Without names, models not here are left out."""
    repository = _open(folder, cache)

    def act(name: str) -> str:
        try:
            repository.verify(name)
        except ModelNotPulled:
            if names:
                raise
            return "not pulled"
        return "right"

    results = _each(repository, names, act, as_json=json)
    if not json:
        terminal.show_table(terminal.console(), ("model", "files"), results)


@models.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A diffusers folder, or one with ONNX graphs in the same layout.")],
    name: Annotated[str, typer.Option(help="What the model shall be called here.")],
    license: Annotated[str, typer.Option(help="Licence of the weights; only you know it.")] = "unknown: user's",
    lora: Annotated[
        list[str] | None, typer.Option(help="LoRA adapter to merge, FILE or FILE:WEIGHT; repeat for more.")
    ] = None,
    controlnet: Annotated[
        list[str] | None, typer.Option(help="ControlNet to add, KIND=FOLDER, KIND edges, depth or pose; repeat.")
    ] = None,
    clip_skip: Annotated[int, typer.Option(min=0, max=8, help="Last text layers to leave out.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, max=200, help="Default number of steps.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, max=50, help="Default guidance scale.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--into", help="Folder of models. Default: DIPTYCH_USER_MODELS, else the user's.")
    ] = None,
) -> None:
    """Make a model you have into one that the generator serves: exported, compared with the original, drawn with."""
    try:
        from diptych.export import ImportOptions, import_model
        from diptych.repository.repository import users_models
    except ModuleNotFoundError as missing:
        raise FailedPrecondition(
            f"imports need {missing.name}, which is not installed; run: pip install 'diptych[serve,export]'",
            reason="NO_EXPORT_EXTRA",
        ) from None
    if name in {manifest.name for manifest in _open(None, None).manifests()}:
        raise FailedPrecondition(f"there is a model {name} already; choose another name", reason="MODEL_EXISTS")
    out = terminal.console(stderr=True)
    options = ImportOptions(
        name,
        license=license,
        controlnets=dict(_kind_and_folder(text) for text in controlnet or ()),
        loras=tuple(_file_and_weight(text) for text in lora or ()),
        clip_skip=clip_skip,
        num_inference_steps=steps,
        guidance_scale=guidance,
    )
    made = import_model(path, folder or users_models(), options, progress=lambda text: out.print(text, soft_wrap=True))
    out.print(f"{name} is ready in {made}", soft_wrap=True)


def _kind_and_folder(text: str) -> tuple[str, Path]:
    kind, separator, folder = text.partition("=")
    if not separator:
        raise InvalidRequest.single("--controlnet", f"is {text!r}; give KIND=FOLDER, such as edges=./canny")
    return kind, Path(folder)


def _file_and_weight(text: str) -> tuple[Path, float]:
    file, separator, weight = text.rpartition(":")
    try:
        return (Path(file), float(weight)) if separator else (Path(text), 1.0)
    except ValueError:
        return Path(text), 1.0


def _each(
    repository: "ModelRepository", names: Iterable[str] | None, act: Callable[[str], str], *, as_json: bool
) -> list[tuple[str, str]]:
    """What `act` says of each model. Failures are written as they come; the worst of them decides the exit code."""
    results, failed = [], 0
    for name in names or [manifest.name for manifest in repository.manifests()]:
        try:
            results.append((name, act(name)))
        except DiptychError as error:
            report(error, as_json=as_json)
            failed = failed if failed == FAILED else exit_code(error)
    if as_json:
        terminal.print_json(dict(results))
    if failed:
        raise typer.Exit(failed)
    return results


def _open(folder: Path | None, cache: Path | None) -> "ModelRepository":
    try:
        from diptych.repository import ModelRepository
    except ModuleNotFoundError as missing:
        raise FailedPrecondition(
            f"models need {missing.name}, which is not installed; run: pip install 'diptych[serve]'",
            reason="NO_SERVE_EXTRA",
        ) from None
    return ModelRepository([folder] if folder else None, cache, users=folder is None)
