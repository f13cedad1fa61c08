"""Tokenizers from a model's own files, as the one file that is read when it serves."""

from pathlib import Path

from diptych.errors import FailedPrecondition

_KINDS = {"CLIPTokenizer": "CLIPTokenizer", "CLIPTokenizerFast": "CLIPTokenizer"}
_KINDS |= {"T5Tokenizer": "T5Tokenizer", "T5TokenizerFast": "T5Tokenizer"}


def write_tokenizer(source: Path, kind: str, target: Path) -> None:
    """Writes `target`/tokenizer.json from a CLIP or T5 tokenizer's folder (vocab.json and merges.txt, spiece.model, or
    a tokenizer.json), with the padding that the model was trained with.

    FailedPrecondition when files are missing or the `kind` is not served.
    """
    import transformers

    if kind not in _KINDS:
        raise FailedPrecondition(
            f"{source.name} is a {kind or 'tokenizer without a name'}; served are {', '.join(_KINDS)}",
            reason="UNSUPPORTED_MODEL",
        )
    if not source.is_dir():
        raise FailedPrecondition(f"the model has no folder {source.name}", reason="FILE_MISSING")
    try:
        tokenizer = getattr(transformers, _KINDS[kind]).from_pretrained(source, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise FailedPrecondition(f"{source.name} cannot be read: {str(error)[:200]}", reason="FILE_MISSING") from error
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.enable_padding(pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    target.mkdir(parents=True, exist_ok=True)
    backend.save(str(target / "tokenizer.json"))
