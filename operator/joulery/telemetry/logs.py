"""JSON logs on standard error, one object per line, with the id of the plan in force."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

PLAN_ID: ContextVar[str | None] = ContextVar("plan_id", default=None)

# What every LogRecord carries; the rest came through `extra` and belongs into the line.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_QUIET = ("aiohttp.access", "kopf", "urllib3", "asyncio")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; fields of `extra` stand beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        plan_id = PLAN_ID.get()
        if plan_id is not None:
            line["plan_id"] = plan_id
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        # kopf shows its insides for what an API server answered; its message says that already.
        if record.exc_info and not record.name.startswith("kopf."):
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(level: str = "INFO") -> None:
    """Log to standard error; libraries that report every request only speak up when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
