"""The live service: Ray Serve, thin, around the pure rooms."""
