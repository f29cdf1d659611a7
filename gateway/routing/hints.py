"""Circuits told to neighbours over Redis: a hint with an end, for skipping sooner, never a must.

Without Redis each process finds out for itself. What is told of the platform's own keys is kept as
well until it ends, for operators who look.
"""

import asyncio

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.routing.circuits import Circuit
from gateway.routing.router import Router
from kernel.log import logger

MOST_UNTOLD = 100
log = logger(__name__)


def circuit_key(provider: str, upstream_model: str) -> str:
    """Return where the state of a circuit is kept; the key's time to live is the circuit's."""
    return f"tollgate:circuit:{provider}\n{upstream_model}"


class Hints:
    """``tell`` returns at once; ``stop`` waits for what is being told.

    A channel belongs to the whole server; the database's number in its name keeps two stacks on one
    server apart.
    """

    def __init__(self, client: "Redis", owner: str) -> None:
        database = client.connection_pool.connection_kwargs.get("db") or 0
        self.channel = f"tollgate:circuits:{database}"
        self._client = client
        self._owner = owner
        self._telling: set[asyncio.Task[None]] = set()

    def tell(self, circuit: Circuit, seconds: float) -> None:
        if len(self._telling) < MOST_UNTOLD:
            task = asyncio.create_task(self._tell(circuit, seconds))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    def hear(self, message: bytes, router: Router) -> None:
        """Leave alone what a neighbour says; its own words come back to a process too."""
        try:
            heard = orjson.loads(message)
            if heard["owner"] != self._owner:
                owner = heard["key_owner"]
                circuit = router.circuit(
                    str(heard["provider"]),
                    str(heard["upstream_model"]),
                    None if owner is None else int(owner),
                )
                circuit.rest(float(heard["seconds"]), told=True)
        except (ValueError, KeyError, TypeError):
            log.warning("circuit_hint_not_read")

    async def stop(self) -> None:
        await asyncio.gather(*self._telling)

    async def _tell(self, circuit: Circuit, seconds: float) -> None:
        names = {
            "provider": circuit.provider,
            "upstream_model": circuit.upstream_model,
            "key_owner": circuit.key_owner,
        }
        message = orjson.dumps({**names, "seconds": seconds, "owner": self._owner})
        told = self._client.pipeline(transaction=False)
        told.publish(self.channel, message)
        if circuit.key_owner is None:
            key = circuit_key(circuit.provider, circuit.upstream_model)
            told.set(key, circuit.state, px=max(1, round(seconds * 1000)))
        try:
            async with asyncio.timeout(1):
                await told.execute()
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("circuit_not_told", error=type(error).__name__)
