"""What only some upstreams have words for: said in a body, or refused by the caller's field. Pure.

A field that would have to be paid for, and that the price does not know, has words nowhere.
"""

from typing import Any

from gateway.chat import ChatRequest
from kernel.errors import NotCarriedError


def say_extras(request: ChatRequest, dialect: str) -> dict[str, Any]:
    """Return the fields that say a request's extras in a body of ``dialect``.

    Raises:
        NotCarriedError: for the first that has no words there.

    """
    body: dict[str, Any] = {}
    for extra in request.extras:
        said = extra.said.get(dialect)
        if said is None:
            raise not_carried(extra.path, extra.what)
        body |= said
    return body


def not_carried(path: str, what: str) -> NotCarriedError:
    """Return the refusal of a field that an upstream cannot be told."""
    return NotCarriedError(f"{what} cannot be sent to this model.", param=path)
