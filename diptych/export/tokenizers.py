"""Tokenizers from a model's own files, as the one file that is read when it serves."""

from pathlib import Path
from types import TracebackType

from diptych.errors import DataCorrupted, FailedPrecondition

_KINDS = {"CLIPTokenizer": "CLIPTokenizer", "CLIPTokenizerFast": "CLIPTokenizer"}
_KINDS |= {"T5Tokenizer": "T5Tokenizer", "T5TokenizerFast": "T5Tokenizer"}
_UNREADABLE = (OSError, ValueError, ImportError, LookupError, TypeError, AttributeError, RuntimeError)


def write_tokenizer(source: Path, kind: str, target: Path, *, vocabulary: int | None = None) -> None:
    """Writes `target`/tokenizer.json from a CLIP or T5 tokenizer's folder (vocab.json and merges.txt, spiece.model, or
    a tokenizer.json), with the padding that the model was trained with. `vocabulary`: tokens that the encoder knows.

    FailedPrecondition when files are missing or the `kind` is not served, DataCorrupted for one of another model.
    """
    import transformers

    if kind not in _KINDS:
        raise FailedPrecondition(
            f"{source.name} is a {kind or 'tokenizer without a name'}; served are {', '.join(_KINDS)}",
            reason="UNSUPPORTED_MODEL",
        )
    if not source.is_dir():
        raise FailedPrecondition(f"the model has no folder {source.name}", reason="FILE_MISSING")
    with _Readable(source.name):
        tokenizer = getattr(transformers, _KINDS[kind]).from_pretrained(source, local_files_only=True)
        backend = tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.enable_padding(pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    highest = max(backend.get_vocab().values(), default=0)
    if vocabulary is not None and highest >= vocabulary:
        raise DataCorrupted(
            f"{source.name} has tokens up to {highest}, and its text encoder knows those below {vocabulary}; "
            "it belongs to another model",
            reason="CONTENT_REFUSED",
        )
    target.mkdir(parents=True, exist_ok=True)
    backend.save(str(target / "tokenizer.json"))


class _Readable:
    """What libraries raise inside, told as a fault of the tokenizer's files. One of them raises Exception itself."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is Exception or isinstance(error, _UNREADABLE):
            fault = f"{type(error).__name__}: {error}"
            raise FailedPrecondition(f"{self._name} cannot be read: {fault[:200]}", reason="FILE_MISSING") from error
