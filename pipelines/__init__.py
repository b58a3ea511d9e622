"""Prefect flows: what, when, with what retries. They decide; dvcp does."""

import os
import sys

# A worker imports a flow from a checkout with the checkout on the path, and takes it from there again: readers and actors, which get
# this process's path, would not find dvcp. Twice in the list, for the first entry is the one that is taken.
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Without PREFECT_API_URL a flow starts a server of its own. Prefect gives it 20 s, which a busy machine with a new PREFECT_HOME (a
# database to make) has overrun: the flow then dies before its first film. Set here, before anything imports prefect.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")
