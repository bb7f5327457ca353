"""Keys that had another name before: a config that still uses one is refused with the new name."""

#: Old path → new path.
RENAMED: dict[str, str] = {
    "linear": "ease",
    "ease.ridge": "ease.l2",
}
