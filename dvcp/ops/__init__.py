"""The heavy arithmetic: each op has a readable reference and a fast version, tested equal."""
