"""Plans by a language model instead, off by default, held to the same rules."""
