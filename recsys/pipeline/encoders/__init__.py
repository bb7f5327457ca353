"""The text encoder: found, trained, made smaller, and used: the stages `encode`, `baskets` and `reencode`."""
