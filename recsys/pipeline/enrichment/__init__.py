"""Texts that a language model writes: the stages `enrich` and `enrich_users`."""
