"""The three applications: `python -m services.generator`, `services.editor`, `services.orchestrator`."""
