"""What speaks for an item: one file a signal."""
