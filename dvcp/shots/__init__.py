"""Shots: finding cuts, the shot list people edit, key frames for the colourist, and the painted stills that come back."""
