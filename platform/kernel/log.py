"""One event per line: a snake_case name, then its fields. Never prompts, keys or header values."""

import logging
from typing import Any

import structlog


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders our events and other packages' records in one form."""

    def __init__(self) -> None:
        shared: list[Any] = [
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ]
        super().__init__(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.LogfmtRenderer(
                    key_order=["timestamp", "level", "event"], bool_as_flag=False
                ),
            ],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )


structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module; pass the event's snake_case name first, ids as fields."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


logging.captureWarnings(capture=True)
