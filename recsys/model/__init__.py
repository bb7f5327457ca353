"""The networks: text to vectors, histories of vectors to scores."""
