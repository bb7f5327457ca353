"""A language model writes short texts about items and users, which the encoder reads; no Ray here."""
