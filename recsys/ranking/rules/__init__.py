"""Re-ranking rules: one file a rule, and the registry that lists them in the order in which they are applied."""
