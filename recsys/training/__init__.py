"""Learning: examples, objectives and the loop, without Ray."""
