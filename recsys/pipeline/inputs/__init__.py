"""From the users' files to histories: the stages `catalog`, `users`, `ingest` and `histories`, and feedback."""
