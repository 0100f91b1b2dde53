"""`python -m joulery.emulator --config FILE`: the emulated data centre as a process of its own.

Runs until SIGTERM or SIGINT, then writes its outcomes and deletes the nodes it made.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from joulery.emulator.config import EmulatorConfig, read_config
from joulery.emulator.control import ControlServer
from joulery.emulator.outcomes import write
from joulery.emulator.world import EmulatedWorld
from joulery.errors import JouleryError

_LOG = logging.getLogger("joulery.emulator")
_CHECK_S = 0.2


async def emulate(config: EmulatorConfig) -> None:
    """Emulate until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with EmulatedWorld(config.world, report=_LOG.info) as world:
        async with ControlServer(world, config.outcomes):
            _LOG.info("%d nodes are registered", len(world.nodes))
            while not stop.is_set():
                await world.run_until(world.now_s + _CHECK_S)
        write(world.outcomes(), config.outcomes)


def main() -> int:
    """Run; 1 with a message where the configuration or the cluster is at fault."""
    parser = argparse.ArgumentParser(prog="python -m joulery.emulator", description=__doc__)
    parser.add_argument(
        "--config", type=Path, required=True, help="JSON file, see joulery/emulator/config.py"
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        asyncio.run(emulate(read_config(parser.parse_args().config)))
    except JouleryError as error:
        sys.stderr.write(f"emulator: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
