"""Models made for serving: imported from torch, and built for engines. Needs the extra `export`."""

from diptych.export.build import BuildOptions, build_model
from diptych.export.build_tensorrt import read_targets
from diptych.export.importing import ImportOptions, import_model

__all__ = ["BuildOptions", "ImportOptions", "build_model", "import_model", "read_targets"]
