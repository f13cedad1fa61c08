"""The model repository: manifests, and weights fetched, checked and kept by content."""

from diptych.repository.manifest import FileEntry, Manifest, TensorEntry
from diptych.repository.repository import LocalModel, ModelRepository, ModelState

__all__ = ["FileEntry", "LocalModel", "Manifest", "ModelRepository", "ModelState", "TensorEntry"]
