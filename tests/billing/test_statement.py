"""One statement, heard from the event loop's callbacks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import psycopg
import pytest
import uvloop
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from billing.database import connect
from billing.statement import Statement

ECHO = "select $1::text || $2::text"
SLOW = "select pg_sleep(0.01)::text || $1::text"
Outcome = bytes | psycopg.Error


class Asker:
    """Asks once, and once more for each of ``others``, from where an answer is heard."""

    def __init__(self) -> None:
        self.heard: list[Outcome] = []
        self.others: list[list[bytes]] = []
        self.statement: Statement
        self._over: asyncio.Future[None]

    def hear(self, outcome: Outcome) -> None:
        self.heard.append(outcome)
        if self.others:
            self.statement.send(self.others.pop(0))
        else:
            self._over.set_result(None)

    async def ask(self, *arguments: bytes) -> Outcome:
        self._over = asyncio.get_running_loop().create_future()
        self.statement.send(arguments)
        async with asyncio.timeout(20):
            await self._over
        return self.heard[-1]


@pytest.fixture
async def connection(database: str) -> AsyncIterator[AsyncConnection[TupleRow]]:
    found = await connect(database, "test", statement_timeout_ms=500)
    yield found
    await found.close()


async def prepare(connection: AsyncConnection[TupleRow], text: str) -> Asker:
    asker = Asker()
    asker.statement = await Statement.prepare(connection, "told", text, asker.hear)
    return asker


async def test_every_execution_is_heard_once_and_psycopg_works_between_them(
    connection: AsyncConnection[TupleRow],
) -> None:
    asker = await prepare(connection, ECHO)

    assert await asker.ask(b"a", "ü".encode()) == "aü".encode()
    row = await (await connection.execute("select 7")).fetchone()
    assert row == (7,)
    asker.others = [[b"c", b"d"], [b"", b""], [b"e", b"f"]]
    assert await asker.ask(b"a", b"b") == b"ef"

    assert asker.heard[1:] == [b"ab", b"cd", b"", b"ef"]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_more_than_a_socket_takes_goes_and_comes_whole(
    database: str, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def go() -> None:
        async with await connect(database, "test", statement_timeout_ms=5000) as connection:
            asker = await prepare(connection, ECHO)

            assert await asker.ask(much, b"y") == much + b"y"
            assert await asker.ask(b"a", b"b") == b"ab"

    much = b"x" * 12_000_000
    run(go())


async def test_an_error_is_heard_and_the_statement_can_be_asked_again(
    connection: AsyncConnection[TupleRow],
) -> None:
    asker = await prepare(connection, "select (1 / $1::int)::text")

    assert isinstance(await asker.ask(b"0"), psycopg.errors.DivisionByZero)
    assert isinstance(await asker.ask(b"none"), psycopg.DataError)
    assert await asker.ask(b"1") == b"1"
    assert not connection.closed


async def test_an_error_of_the_commit_is_an_error(connection: AsyncConnection[TupleRow]) -> None:
    await connection.execute("create table told (n int unique deferrable initially deferred)")
    asker = await prepare(
        connection, "with new as (insert into told values ($1::int) returning n) select n from new"
    )

    assert await asker.ask(b"1") == b"1"
    assert isinstance(await asker.ask(b"1"), psycopg.errors.UniqueViolation)
    assert await asker.ask(b"2") == b"2"


async def test_what_takes_too_long_is_heard_as_that(connection: AsyncConnection[TupleRow]) -> None:
    asker = await prepare(connection, "select pg_sleep($1::float)::text")

    assert isinstance(await asker.ask(b"5"), psycopg.errors.QueryCanceled)
    assert await asker.ask(b"0") == b""


async def test_a_connection_that_is_lost_is_heard_while_waiting_and_before(
    connection: AsyncConnection[TupleRow], database: str
) -> None:
    asker = await prepare(connection, "select pg_sleep($1::float)::text")
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
        waiting = asyncio.ensure_future(asker.ask(b"0.4"))
        await asyncio.sleep(0.05)
        await other.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
        outcome = await waiting

    assert isinstance(outcome, psycopg.OperationalError)
    assert connection.closed
    with pytest.raises(psycopg.OperationalError):
        asker.statement.send([b"0"])


async def test_nothing_is_heard_after_the_end(connection: AsyncConnection[TupleRow]) -> None:
    asker = await prepare(connection, SLOW)

    asker.statement.send([b"a"])
    asker.statement.close()
    await asyncio.sleep(0.1)

    assert asker.heard == []


async def test_a_statement_that_cannot_be_is_refused_when_it_is_prepared(
    connection: AsyncConnection[TupleRow],
) -> None:
    with pytest.raises(psycopg.errors.UndefinedFunction):
        await prepare(connection, "select nowhere($1::int)")
