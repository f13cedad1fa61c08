"""The orchestrator: understands a goal, plans it, runs the plan on generator and editor."""
