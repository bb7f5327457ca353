"""What the files of a new user seem to hold, for a first config."""
