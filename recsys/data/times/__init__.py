"""Points in time, in all the spellings that files have."""
