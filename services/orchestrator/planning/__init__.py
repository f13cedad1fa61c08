"""From what was understood to a plan: pure, no calls, no clock."""
