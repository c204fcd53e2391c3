"""The page "Embeddings"."""
