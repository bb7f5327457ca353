"""A small synthetic shop with known structure, for demos and tests."""
