"""Where outputs live: whole-object writes on any fsspec store, the ledger of finished segments, fixity, provenance."""
