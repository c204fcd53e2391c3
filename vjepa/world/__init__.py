"""The drawn world: labelled clips, made while one trains."""
