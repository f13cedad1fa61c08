"""Models that people have, made into repository entries: torch weights to ONNX. Needs the extra [export]."""

from diptych.export.importing import ImportOptions, import_model

__all__ = ["ImportOptions", "import_model"]
