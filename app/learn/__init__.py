"""Page "Learn": short lessons on live figures."""
