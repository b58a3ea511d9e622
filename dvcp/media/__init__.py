"""Films in and out through PyAV: probe, read, write, remux, compare, and the painted stills."""
