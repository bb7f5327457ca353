"""Trackers of experiments: where a night's settings, curves and figures go. One file for each of them."""
