"""Who an operator's command acts for: ``--as EMAIL``, or the command line itself."""

from typing import Any

from django.core.management.base import CommandParser

from accounts.commands import ACTOR
from billing.payments.approvals import access_operator


def add_actor_flag(verb: CommandParser) -> None:
    verb.add_argument("--as", metavar="EMAIL", help="the operator who asks")


def read_actor(options: dict[str, Any]) -> str:
    """Return the actor's name for the audit trail.

    Raises:
        NotFoundError: for anybody but an active operator.

    """
    email = options["as"]
    return ACTOR if email is None else access_operator(email).email
