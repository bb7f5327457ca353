"""The live service: HTTP on Ray Serve over a published snapshot. It ranks with the same code as the nightly job."""
