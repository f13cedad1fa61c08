"""Light and colour of a whole picture."""
