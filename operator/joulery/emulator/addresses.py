"""Loopback addresses for pods: one of 127.0.0.0/8 each, held by a bound socket from start to end."""

from __future__ import annotations

import errno
import os
import socket

from joulery.errors import ConfigError

_HOSTS_PER_NET = 254


class PodAddresses:
    """Hands out addresses 127.X.Y.Z, each once per run.

    X starts from the process id, so that two emulators on one machine seldom meet; where they do, the one
    in use is skipped. Linux answers on all of 127.0.0.0/8 without configuration; other systems do not.
    """

    def __init__(self, first_net: int | None = None) -> None:
        self._net = first_net if first_net is not None else os.getpid()
        self._taken = 0

    def reserve(self, port: int) -> socket.socket:
        """A socket bound to a fresh address; connections are refused until it listens.

        Raises:
            ConfigError: no loopback address could be bound.
        """
        for _ in range(1000):
            address = self._take()
            bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            # No SO_REUSEADDR: with it, two sockets that do not listen yet could hold the same address.
            bound.setblocking(False)
            try:
                bound.bind((address, port))
            except OSError as error:
                bound.close()
                if error.errno != errno.EADDRINUSE:
                    raise ConfigError(f"cannot bind {address}:{port} for an emulated pod: {error}") from error
                continue
            return bound
        raise ConfigError(f"no free loopback address at port {port} for an emulated pod")

    def _take(self) -> str:
        subnet, host = divmod(self._taken, _HOSTS_PER_NET)
        carry, third = divmod(subnet, 256)
        self._taken += 1
        # 127.0.*.* is everybody's.
        return f"127.{1 + (self._net + carry) % 254}.{third}.{1 + host}"
