"""Rows in: reading, checking and laying out events and items."""
