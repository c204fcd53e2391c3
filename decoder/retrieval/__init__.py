"""Pixels for predicted features without training: the nearest tubelets of other clips."""
