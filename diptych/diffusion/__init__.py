"""Latent diffusion: prompts and pictures in, pictures out, one step at a time for many rows at once."""

from diptych.diffusion.folder import open_pipeline
from diptych.diffusion.pipeline import Defaults, Pipeline, Sizes
from diptych.diffusion.preview import PreviewMap
from diptych.diffusion.row import Row, RowSpec
from diptych.diffusion.walk import Toward

__all__ = ["Defaults", "Pipeline", "PreviewMap", "Row", "RowSpec", "Sizes", "Toward", "open_pipeline"]
