"""What is stored under an Idempotency-Key, and what is said of an answer that was too large."""

from collections.abc import AsyncIterator

import pytest
from psycopg_pool import AsyncConnectionPool

from gateway.idempotency import MOST_BYTES, AnswerStore, Once, StoredAnswer
from kernel.errors import AnswerNotKeptError, IdempotencyReusedError
from tests.factories import Tenant, make_tenant


@pytest.fixture
def acme(database: str) -> Tenant:
    return make_tenant()


@pytest.fixture
async def store(database: str) -> AsyncIterator[AnswerStore]:
    async with AsyncConnectionPool(database, min_size=1, max_size=2, open=False) as pool:
        yield AnswerStore(pool, "secret", wait_s=20)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_answer_is_found_as_it_was_stored(
    store: AnswerStore, acme: Tenant, *, is_stream: bool
) -> None:
    once, answer = Once(acme.org.pk, "k", "body"), StoredAnswer(is_stream, b'{"id":"a"}')

    await store.keep(once, answer)

    assert await store.find(once) == answer
    with pytest.raises(IdempotencyReusedError):
        await store.find(Once(acme.org.pk, "k", "another"))
    assert await store.find(Once(acme.org.pk, "l", "body")) is None


@pytest.mark.parametrize("content", [b"x" * (MOST_BYTES + 1), None])
async def test_an_answer_too_large_to_keep_is_not_made_again_for_nothing(
    store: AnswerStore, acme: Tenant, content: bytes | None
) -> None:
    once = Once(acme.org.pk, "k", "body")

    await store.keep(once, StoredAnswer(is_stream=True, content=content))

    with pytest.raises(AnswerNotKeptError, match="too large to be kept"):
        await store.find(once)
    with pytest.raises(IdempotencyReusedError):
        await store.find(Once(acme.org.pk, "k", "another"))
