"""The form of a key: nothing but a true key is well formed, and no secret is kept."""

import hashlib
import hmac
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.key_format import (
    checksum,
    is_secret,
    new_secret,
    parse_key,
    render_key,
    secret_hmac,
)
from kernel.ids import ALPHABET

PEPPER = bytes(range(32))
base62 = st.text(ALPHABET, min_size=12, max_size=12)
secrets = st.text(ALPHABET, min_size=32, max_size=32)
kinds = st.sampled_from(["proj", "svcacct", "admin"])


@given(kinds, base62, secrets)
def test_a_rendered_key_has_one_shape_and_reads_back(
    kind: str, public_id: str, secret: str
) -> None:
    text = render_key(kind, public_id, secret)
    presented = parse_key(text)

    assert re.fullmatch(rf"hk-{kind}-[0-9A-Za-z]{{50}}", text)
    assert presented is not None
    assert (presented.kind, presented.public_id, presented.secret) == (kind, public_id, secret)


@given(kinds, base62, secrets, st.data())
def test_any_one_changed_character_is_refused(
    kind: str, public_id: str, secret: str, data: st.DataObject
) -> None:
    text = render_key(kind, public_id, secret)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character != text[place]))

    assert parse_key(text[:place] + other + text[place + 1 :]) is None


@given(kinds, base62, secrets, st.integers(1, 58))
def test_a_key_cut_short_or_grown_is_refused(
    kind: str, public_id: str, secret: str, count: int
) -> None:
    text = render_key(kind, public_id, secret)

    assert parse_key(text[:-count]) is None
    assert parse_key(text + "0" * count) is None
    assert parse_key(text + "\n") is None
    assert parse_key(" " + text) is None


@given(base62, secrets, st.integers(8, 50))
def test_two_neighbours_that_change_places_are_refused(
    public_id: str, secret: str, place: int
) -> None:
    text = render_key("proj", public_id, secret)
    swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]

    assert swapped == text or parse_key(swapped) is None


@given(st.text())
def test_no_text_at_all_breaks_the_parser(text: str) -> None:
    assert parse_key(text) is None
    assert parse_key("hk-proj-" + text) is None


@pytest.mark.parametrize("prefix", ["sk-proj-", "hk-PROJ-", "hk-user-", "hk_proj_", "HK-proj-", ""])
def test_a_right_checksum_does_not_save_a_wrong_prefix(prefix: str) -> None:
    head = prefix + "a" * 44

    assert parse_key(head + checksum(head)) is None


def test_the_checksum_is_the_crc_32_of_all_before_it_in_six_characters() -> None:
    head = "hk-proj-" + "0" * 44
    number = 0
    for character in checksum(head):
        number = number * 62 + ALPHABET.index(character)

    assert number == zlib.crc32(head.encode())
    assert len(checksum(head)) == 6


@given(secrets, secrets)
def test_a_secret_is_known_by_its_hmac_under_its_own_pepper_only(one: str, other: str) -> None:
    stored = secret_hmac(one, PEPPER)

    assert stored == hmac.new(PEPPER, one.encode(), hashlib.sha256).digest()
    assert is_secret(one, stored, PEPPER)
    assert is_secret(other, stored, PEPPER) == (one == other)
    assert not is_secret(one, stored, PEPPER[::-1])
    assert not is_secret(one, b"", PEPPER)


def test_a_presented_key_keeps_its_secret_to_itself_when_printed() -> None:
    secret = new_secret()

    presented = parse_key(render_key("proj", "abcdefABCDEF", secret))

    assert repr(presented) == "PresentedKey(hk-proj-abcdefABCDEF…)"
    assert secret not in f"{presented} {presented!r}"


def test_secrets_are_32_characters_and_never_the_same() -> None:
    made = {new_secret() for _ in range(1_000)}

    assert len(made) == 1_000
    assert {len(secret) for secret in made} == {32}
