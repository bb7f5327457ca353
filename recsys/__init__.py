"""Nightly recommendations from a language-model ranker, precomputed on Ray."""

__version__ = "0.2.0.dev0"
