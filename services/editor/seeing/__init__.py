"""Networks that look at pictures: faces, things, text, safety, depth."""
