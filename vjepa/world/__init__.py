"""Worlds that clips are drawn from, with labels that their makers know."""
