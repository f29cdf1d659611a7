"""What a provider's refusal says to routing. To callers these are what they are made of."""

from kernel.errors import TollgateError, UnavailableError

SOON = {"retry-after": "2"}


class OverloadedError(UnavailableError):
    """429, 503, 529. ``come_back_s`` is when the provider wants to be asked again, if it said."""

    def __init__(self, come_back_s: int | None = None) -> None:
        super().__init__("The model is overloaded at the moment; try again shortly.", headers=SOON)
        self.come_back_s = come_back_s


class OwnKeyRefusedError(TollgateError):
    """401, 402, 403 or an empty account there, under the organization's own key.

    Neither the provider's fault nor the caller's: who looks after the organization's keys must act.
    """

    http_status = 502
    default_code = "provider_key_refused"

    def __init__(self) -> None:
        super().__init__(
            "The model's provider refused your organization's own key: replace or remove the key, "
            "or see to the account behind it.",
            headers={"x-should-retry": "false"},
        )
