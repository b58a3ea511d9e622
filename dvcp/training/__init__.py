"""Training of every network that ships, from plain video files."""
