"""Prefect flows: what, when, with what retries. They decide; dvcp does."""
