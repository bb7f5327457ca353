"""Which rows are used: filters, checks, and the quarantine of the others."""
