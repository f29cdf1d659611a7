"""An installation from before comes over with what its operator had set."""

from django.core.management import call_command
from django.db import connection

from gateway.models import Provider
from tests.factories import offer_upstream


def test_a_time_that_bounded_head_and_first_token_goes_on_bounding_both(database: str) -> None:
    offer_upstream("http://127.0.0.1:1")
    call_command("migrate", "gateway", "0008_thinks_unseen", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("update gateway_provider set read_timeout_s = 300 where name = 'mock'")

    call_command("migrate", verbosity=0)

    provider = Provider.objects.get(name="mock")
    assert (provider.read_timeout_s, provider.first_token_timeout_s) == (300, 300)
