"""The entry points: each job is its list of stages on one screen."""
