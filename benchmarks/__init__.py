"""Every number in the docs comes from a script here: `python -m benchmarks.NAME`."""
