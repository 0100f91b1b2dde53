"""`python -m joulery.agent`: the agent without the rest of the command line."""

from __future__ import annotations

import asyncio
import logging
import sys

from pydantic import ValidationError

from joulery.agent.app import run
from joulery.agent.settings import AgentSettings


def main() -> int:
    """Read the settings and run."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        # pydantic-settings fills the fields from the environment, which mypy does not see.
        settings = AgentSettings()  # type: ignore[call-arg]
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            name = "JOULERY_" + "_".join(str(part) for part in detail["loc"]).upper()
            logging.getLogger(__name__).error("setting %s: %s", name, detail["msg"])
        return 2
    return asyncio.run(run(settings))


if __name__ == "__main__":
    sys.exit(main())
