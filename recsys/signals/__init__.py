"""The signals: what a signal is, the registry, and one file for each signal."""
