"""What a cell or a column of cells says: texts, numbers, ids."""
