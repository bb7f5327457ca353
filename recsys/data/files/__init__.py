"""From a path to the files of an input, and from files to chunks of rows."""
