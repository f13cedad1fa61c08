"""A still picture in motion."""
