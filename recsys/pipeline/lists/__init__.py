"""The lists of a night: the stages `recommend`, `check` and `similar_items`."""
