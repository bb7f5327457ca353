"""Reads what earlier stages and nights wrote, for the stages after them."""
