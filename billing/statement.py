"""A prepared statement that is asked and heard from the event loop's own callbacks.

psycopg waits for an answer in a task, which takes its turn behind all the calls that are ready; a
result lay there for 3 of the 6 ms that a batch took, and the database had nothing to do meanwhile.
Here whoever hears the answer is called as soon as the loop sees it, and may send the next one.

psycopg's own calls work on the connection while nothing is under way.
"""

from collections.abc import Callable, Sequence
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

from kernel.loops import running_loop

Hear = Callable[[bytes | psycopg.Error], None]


class Statement:
    """Of one connection. It returns one row with one text; ``hear`` has that, or what went wrong.

    1. ``send`` sends the arguments of one execution; the one before has been heard.
    2. ``hear`` is called once for each, after the commit, and may call ``send``.
    """

    def __init__(self, connection: AsyncConnection[TupleRow], name: str, hear: Hear) -> None:
        self._pgconn = connection.pgconn
        self._socket = connection.fileno()
        self._name = name.encode()
        self._hear = hear
        self._loop = running_loop()
        self._results: list[PGresult] = []
        self._is_under_way = False
        self._is_listening = False
        self._is_held_up = False

    @classmethod
    async def prepare(
        cls, connection: AsyncConnection[TupleRow], name: LiteralString, text: str, hear: Hear
    ) -> "Statement":
        """Prepare a statement with places ``$1``, ``$2``, … under a name.

        Raises:
            psycopg.Error: where the server will not have it.

        """
        await connection.execute(f"prepare {name} as {text}".encode())
        return cls(connection, name, hear)

    def send(self, arguments: Sequence[bytes]) -> None:
        """Execute it.

        Raises:
            psycopg.Error: where it cannot be sent; ``hear`` is not called then.

        """
        assert not self._is_under_way, "one execution at a time"
        self._pgconn.send_query_prepared(self._name, arguments)
        self._is_under_way = True
        if not self._is_listening:
            self._is_listening = True
            self._loop.add_reader(self._socket, self._read)
        self._write()

    def close(self) -> None:
        """Hear nothing any more; to be called before the connection is closed."""
        if self._is_listening:
            self._is_listening = False
            self._loop.remove_reader(self._socket)
        if self._is_held_up:
            self._is_held_up = False
            self._loop.remove_writer(self._socket)

    def _write(self) -> None:
        try:
            is_left = self._pgconn.flush() != 0
        except psycopg.Error as error:
            self._end(error)
            return
        if is_left and not self._is_held_up:
            self._loop.add_writer(self._socket, self._write)
        elif self._is_held_up and not is_left:
            self._loop.remove_writer(self._socket)
        self._is_held_up = is_left

    def _read(self) -> None:
        pgconn, results = self._pgconn, self._results
        try:
            pgconn.consume_input()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    self._end(_outcome(results))
                    return
                results.append(result)
        except psycopg.Error as error:
            self._end(error)

    def _end(self, outcome: bytes | psycopg.Error) -> None:
        self._is_under_way = False
        self._results.clear()
        self._hear(outcome)
        if not self._is_under_way:
            self.close()


def _outcome(results: Sequence[PGresult]) -> bytes | psycopg.Error:
    """Return the only value; an error may come behind it, from the commit."""
    for result in results:
        if result.status != ExecStatus.TUPLES_OK:
            return errors.error_from_result(result)
    value = results[-1].get_value(0, 0) if results else None
    return psycopg.InternalError("no value") if value is None else value
