"""How far decoded predictions can be trusted."""
