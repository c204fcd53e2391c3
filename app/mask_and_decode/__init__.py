"""The page "Mask and decode"."""
