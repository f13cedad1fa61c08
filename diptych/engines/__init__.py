"""Engines: one executable graph each, numpy arrays in and out."""

from diptych.engines.base import Engine, TensorSpec
from diptych.engines.select import open_engine

__all__ = ["Engine", "TensorSpec", "open_engine"]
