"""What an event says: its kind, its weight, whether it is a positive, a search, an impression or feedback."""
