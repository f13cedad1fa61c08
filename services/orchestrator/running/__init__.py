"""A plan on its way through generator and editor."""
