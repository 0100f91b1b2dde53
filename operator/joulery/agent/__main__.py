"""`python -m joulery.agent`: the agent without the rest of the command line."""

from __future__ import annotations

import sys

from joulery.agent.app import main

if __name__ == "__main__":
    sys.exit(main())
