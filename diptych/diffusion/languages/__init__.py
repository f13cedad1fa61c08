"""Prompts in other languages, put into the English that a model was taught."""
