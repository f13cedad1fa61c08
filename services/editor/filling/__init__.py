"""What is put into a picture: holes filled, things laid in, their light and colour made to fit."""
