"""The page "Evaluation"."""
