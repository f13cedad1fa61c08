"""Where results go: refused early when they cannot be written, named after what they are."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from diptych.client import Format
from diptych.errors import InvalidRequest
from diptych.filming import FilmFormat
from diptych.types import FORMATS, Film, Picture, Pictures, format_of

STDOUT = "-"
_FILMS: dict[str, FilmFormat] = {".mp4": "mp4", ".webp": "webp"}
_FORMATS: dict[str, Format] = {"PNG": "png", "JPEG": "jpeg", "WEBP": "webp", "AVIF": "avif"}


def output_format(output: str | None) -> Format | None:
    """The format to ask a service for. InvalidRequest when `output` could not be written."""
    if output is None:
        return None
    if output == STDOUT:
        if sys.stdout.isatty():
            raise InvalidRequest.single("output", "a terminal cannot show a picture; redirect stdout or name a file")
        return "png"
    path = Path(output)
    wanted = _FORMATS[format_of(path)]
    _check_place(path)
    return wanted


def film_format(output: Path) -> FilmFormat:
    """The format of a film to ask a service for. InvalidRequest when `output` could not be written."""
    wanted = _FILMS.get(output.suffix.lower())
    if wanted is None:
        raise InvalidRequest.single("output", f"{output.name} ends in none of {', '.join(_FILMS)}; rename it")
    _check_place(output)
    return wanted


def write_film(film: Film, output: Path) -> Path:
    """The path written."""
    try:
        return film.save(output)
    except OSError as error:
        raise InvalidRequest.single("output", f"{output} cannot be written: {error.strerror or error}") from None


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise InvalidRequest.single("output", f"{path} is a directory; name a file in it")
    if not path.parent.is_dir():
        raise InvalidRequest.single("output", f"there is no directory {path.parent}; create it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InvalidRequest.single("output", f"{path} cannot be written; check its permissions")


def write_pictures(result: Pictures, output: str | None, films: Iterable[Film] = ()) -> list[Path]:
    """The paths written; none for stdout. Without `output` free names such as `result.png` are taken."""
    if output == STDOUT:
        if len(result.images) != 1:
            raise InvalidRequest.single("output", f"stdout takes one picture, not {len(result.images)}; name a file")
        sys.stdout.buffer.write(result.image.bytes)
        sys.stdout.buffer.flush()
        return []
    try:
        paths = list(result.save(output or free_name(result.images)))
        for number, film in enumerate(films, 1):
            base = Path(output or "result.png")
            paths.append(film.save(base.with_name(f"{base.stem}-film-{number}.{film.format.lower()}")))
    except OSError as error:
        where = error.filename or output or "the result"
        raise InvalidRequest.single("output", f"{where} cannot be written: {error.strerror or error}") from None
    return paths


def free_name(images: Iterable[Picture]) -> Path:
    """A name in the current directory that overwrites nothing: `result.png`, `result_2.png`, ..."""
    suffixes = {name: suffix for suffix, name in reversed(list(FORMATS.items()))}
    suffix = next((suffixes.get(image.format, ".png") for image in images), ".png")
    number = 1
    while True:
        stem = "result" if number == 1 else f"result_{number}"
        if not any(Path.cwd().glob(f"{stem}{suffix}")) and not any(Path.cwd().glob(f"{stem}-[0-9]*{suffix}")):
            return Path(f"{stem}{suffix}")
        number += 1
