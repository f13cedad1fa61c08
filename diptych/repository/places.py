"""Where models lie on this machine, unless somebody says otherwise."""

import os
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

import diptych


def users_models() -> Path:
    """The folder of imported models: the one in `DIPTYCH_USER_MODELS`, else in the user's data folder."""
    configured = os.environ.get("DIPTYCH_USER_MODELS")
    return Path(configured) if configured else user_data_path("diptych", appauthor=False) / "models"


def default_root() -> Path:
    """The folder of manifests: the one in `DIPTYCH_MODELS`, else the one beside the package."""
    configured = os.environ.get("DIPTYCH_MODELS")
    return Path(configured) if configured else Path(diptych.__file__).parents[1] / "models"


def default_cache() -> Path:
    """The folder of what is pulled and built: the one in `DIPTYCH_CACHE`, else the user's cache folder."""
    configured = os.environ.get("DIPTYCH_CACHE")
    return Path(configured) if configured else user_cache_path("diptych", appauthor=False)
