"""The page "Surprise"."""
