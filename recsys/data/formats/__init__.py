"""Input formats: `input_format` says what a format is, `registry` lists them, and every other file holds one."""
