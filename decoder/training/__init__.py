"""Training a decoder on what a frozen model says."""
