"""Whether a machine, a storage and the inputs are ready for a night."""
