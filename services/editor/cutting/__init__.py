"""Which part of a picture is meant, and its outline to the hair."""
