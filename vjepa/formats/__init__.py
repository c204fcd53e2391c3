"""Files that others wrote, read by our names."""
