"""What writes the texts: one file for each back end."""
