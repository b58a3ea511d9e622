"""The health check of containers that have no curl: exit code 0 when the URL given answers with 200."""

from __future__ import annotations

import sys

from deploy.services import answers

if __name__ == "__main__":
    sys.exit(not answers(sys.argv[1], 4))
