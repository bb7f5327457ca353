"""What lists are worth: metrics, the gate and the run report."""
