"""Handing the parts of a stage's work to Ray's workers, and what comes back from them."""
