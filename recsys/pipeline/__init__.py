"""Ray Data and Ray Train, thin, around the pure rooms."""
