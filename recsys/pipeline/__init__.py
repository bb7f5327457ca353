"""A night on Ray, thin around the pure rooms: its stages and runs here, and a folder for each of its chapters."""
