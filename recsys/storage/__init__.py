"""Everything that is written: one root, local or S3."""
