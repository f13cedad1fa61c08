"""The generator: makes pictures that did not exist."""
