"""Prefect flows: what, when, with what retries. They decide; dvcp does."""

import os

# Without PREFECT_API_URL a flow starts a server of its own. Prefect gives it 20 s, which a busy machine with a new PREFECT_HOME (a
# database to make) has overrun: the flow then dies before its first film. Set here, before anything imports prefect.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")
