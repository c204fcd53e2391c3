"""The page "Probes"."""
