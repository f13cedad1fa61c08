"""`diptych models list|pull|import|build|verify|bench|remove`: the models on this machine. No service needs to run."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import build, terminal
from diptych.cli.failures import FAILED, ended_gently, exit_code, report
from diptych.cli.options import AsJson
from diptych.errors import DiptychError, FailedPrecondition, InvalidRequest, ModelNotPulled

if TYPE_CHECKING:
    from diptych.repository import ModelRepository
    from diptych.repository.builds import Build

models = typer.Typer(
    no_args_is_help=True, help="List, obtain, import, build, check, time and remove the models on this machine."
)
models.command("build")(build.build)

Names = Annotated[
    list[str] | None, typer.Argument(help="Models, NAME or NAME@VERSION; none means all.", show_default=False)
]
Folder = Annotated[
    Path | None, typer.Option("--models", help="Folder of manifests. Default: DIPTYCH_MODELS, else the clone's.")
]
Cache = Annotated[
    Path | None, typer.Option(help="Folder of pulled files. Default: DIPTYCH_CACHE, else the user's cache.")
]


@models.command("list")
def list_models(json: AsJson = False, folder: Folder = None, cache: Cache = None) -> None:
    """List the models, their kind, licence, whether their files are here, and what was built of them."""
    repository = _open(folder, cache)
    aliases, faults = repository.aliases(), list[DiptychError](repository.faults())
    found = []
    for manifest in repository.manifests():
        reference = f"{manifest.name}@{manifest.version}"
        default = repository.get(manifest.name).version == manifest.version
        try:
            builds = repository.builds(reference)
        except DiptychError as fault:
            builds, faults = [], [*faults, fault]
        found.append((manifest, repository.state(reference), default, builds))
    if json:
        terminal.print_json(
            [
                {
                    "name": manifest.name,
                    "version": manifest.version,
                    "default_version": default,
                    "aliases": [alias for alias, target in aliases.items() if repository.get(target) == manifest],
                    "kind": manifest.kind,
                    "task": manifest.task,
                    "license": manifest.license,
                    "requires_acceptance": manifest.requires_acceptance,
                    "state": state,
                    "description": manifest.description,
                    "origin": manifest.origin,
                    "sources": manifest.sources,
                    "builds": [_told(folder, build) for folder, build in builds],
                }
                for manifest, state, default, builds in found
            ]
        )
    else:
        rows = [
            (m.name, m.version, m.kind, m.task, m.license, state, "\n".join(_told_shortly(one) for _, one in builds))
            for m, state, _, builds in found
        ]
        columns = ("model", "version", "kind", "task", "licence", "state", "builds")
        terminal.show_table(terminal.console(), columns, rows)
    if failed := _report(faults, as_json=json):
        raise typer.Exit(failed)


def _told(folder: Path, build: "Build") -> dict[str, Any]:
    return {
        **build.key.model_dump(),
        "folder": str(folder),
        "megabytes": sum(part.bytes for part in build.parts) / 1e6,
        "provider": build.provider,
        "milliseconds": build.milliseconds,
        "source_milliseconds": build.source_milliseconds,
        "largest_error": max(part.max_error for part in build.parts),
        "psnr": build.psnr,
    }


def _told_shortly(build: "Build") -> str:
    named = " ".join(part for part in (build.key.engine, build.key.precision, build.key.target) if part)
    if not build.milliseconds or not build.source_milliseconds:
        return f"{named}, not run"
    return f"{named}, {build.source_milliseconds / build.milliseconds:.2f} times as fast"


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
    path: Annotated[
        str,
        typer.Argument(
            help="A diffusers folder, or one with ONNX graphs in the same layout; hub:OWNER/NAME[@REVISION] or "
            "s3://BUCKET/PREFIX for one that is elsewhere."
        ),
    ],
    name: Annotated[str, typer.Option(help="What the model shall be called here.")],
    license: Annotated[str, typer.Option(help="Licence of the weights; only you know it.")] = "unknown: user's",
    lora: Annotated[
        list[str] | None, typer.Option(help="LoRA adapter to merge, FILE or FILE:WEIGHT; repeat for more.")
    ] = None,
    controlnet: Annotated[
        list[str] | None, typer.Option(help="ControlNet to add, KIND=FOLDER, KIND edges, depth or pose; repeat.")
    ] = None,
    ip_adapter: Annotated[
        Path | None,
        typer.Option(help="IP-Adapter for reference pictures, a safetensors file with image_encoder/ beside it."),
    ] = None,
    clip_skip: Annotated[int, typer.Option(min=0, max=8, help="Last text layers to leave out.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, max=200, help="Default number of steps.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, max=50, help="Default guidance scale.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--into", help="Folder of models. Default: DIPTYCH_USER_MODELS, else the user's.")
    ] = None,
) -> None:
    """Make a model you have into one that the generator serves: exported, compared with the original, drawn with."""
    _import(
        path,
        folder,
        name=name,
        license=license,
        controlnets=dict(_kind_and_folder(text) for text in controlnet or ()),
        loras=tuple(_file_and_weight(text) for text in lora or ()),
        ip_adapter=ip_adapter,
        clip_skip=clip_skip,
        num_inference_steps=steps,
        guidance_scale=guidance,
    )


def _import(path: str, folder: Path | None, *, name: str, **wishes: Any) -> None:
    """Imports what is at `path` into `folder`; `wishes` are those of `ImportOptions`."""
    from diptych.repository.sources import is_address

    if not (is_address(path) or Path(path).exists()):  # Before torch is loaded, which takes seconds.
        raise InvalidRequest.single(
            "path", f"{path} does not exist; give the folder of a whole pipeline", reason="NO_FOLDER"
        )
    try:
        from diptych.export import ImportOptions, import_model
        from diptych.repository.places import users_models
        from diptych.repository.sources import fetch_model, is_address
    except ModuleNotFoundError as missing:
        raise FailedPrecondition(
            f"imports need {missing.name}, which is not installed; run: pip install 'diptych[serve,export]'",
            reason="NO_EXPORT_EXTRA",
        ) from None
    repository = _open(None, None)
    if name in {manifest.name for manifest in repository.manifests()}:
        raise FailedPrecondition(f"there is a model {name} already; choose another name", reason="MODEL_EXISTS")
    out = terminal.console(stderr=True)

    def tell(sentence: str) -> None:
        out.print(sentence, soft_wrap=True)

    downloads = repository.downloads(name)
    source = fetch_model(path, downloads, tell) if is_address(path) else Path(path)
    origin = f"Imported from {path}." if is_address(path) else "Imported from a folder of the user's."
    options = ImportOptions(name, origin=origin, **wishes)
    with ended_gently():
        made = import_model(source, folder or users_models(), options, progress=tell)
    shutil.rmtree(downloads, ignore_errors=True)
    tell(f"{name} is ready in {made}")


@models.command()
def remove(
    names: Annotated[list[str], typer.Argument(help="Models, NAME or NAME@VERSION.")],
    force: Annotated[bool, typer.Option(help="Also a model that others need.")] = False,
    json: AsJson = False,
    folder: Folder = None,
    cache: Cache = None,
) -> None:
    """Delete the pulled files of models, or models that you imported. What is pulled can be pulled again."""
    repository = _open(folder, cache)
    results = _each(
        repository, names, lambda name: f"{repository.remove(name, force=force) / 1e6:.1f} MB free", as_json=json
    )
    if not json:
        terminal.show_table(terminal.console(), ("model", "removed"), results)


@models.command()
def bench(
    names: Names = None,
    batch: Annotated[int, typer.Option(min=1, max=64, help="Samples in a run, where the graph takes several.")] = 1,
    size: Annotated[int, typer.Option(min=1, max=8192, help="What sizes that vary are set to.")] = 256,
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="Timed runs of each graph.")] = 10,
    threads: Annotated[int, typer.Option(min=0, help="Threads of an engine; 0 leaves it to the engine.")] = 0,
    json: AsJson = False,
    folder: Folder = None,
    cache: Cache = None,
) -> None:
    """Time every graph of the models on this machine, alone and warm. Without names, models not here are left out."""
    repository = _open(folder, cache)
    from diptych.engines.bench import time_graph

    timings = []
    for name in names or [manifest.name for manifest in repository.manifests()]:
        if not names and repository.state(name) != "READY":
            continue
        local = repository.open(name)
        for path in local.manifest.paths:
            if path.endswith(".onnx"):
                timed = time_graph(
                    local.path(path), batch=batch, size=size, runs=runs, threads=threads,
                    precision=local.manifest.precision,
                )  # fmt: skip
                timings.append((f"{local.manifest.name}@{local.manifest.version}", path, timed))
    if json:
        terminal.print_json([{"model": model, "graph": path, **asdict(timed)} for model, path, timed in timings])
        return
    rows = [
        (model, path, timed.provider, f"{timed.median_ms:.1f} ms", f"{timed.p95_ms:.1f} ms", f"{timed.first_ms:.1f} ms")
        for model, path, timed in timings
    ]
    columns = ("model", "graph", "provider", "median", "p95", "first run")
    terminal.show_table(terminal.console(), columns, rows)


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
    results = []
    failed = 0 if names else _report(repository.faults(), as_json=as_json)
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


def _report(faults: Iterable[DiptychError], *, as_json: bool) -> int:
    """Writes what is wrong; the exit code for it, 0 if nothing is."""
    failed = 0
    for fault in faults:
        report(fault, as_json=as_json)
        failed = exit_code(fault)
    return failed


def _open(folder: Path | None, cache: Path | None) -> "ModelRepository":
    try:
        from diptych.repository import ModelRepository
    except ModuleNotFoundError as missing:
        raise FailedPrecondition(
            f"models need {missing.name}, which is not installed; run: pip install 'diptych[serve]'",
            reason="NO_SERVE_EXTRA",
        ) from None
    return ModelRepository([folder] if folder else None, cache, users=folder is None)
