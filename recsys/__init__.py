"""Nightly recommendations from a language-model ranker, precomputed on Ray."""

__version__ = "0.1.0"
