"""What a provider's refusal says to routing. To callers these are what they are made of."""

from kernel.errors import UnavailableError

SOON = {"retry-after": "2"}


class OverloadedError(UnavailableError):
    """429, 503, 529. ``come_back_s`` is when the provider wants to be asked again, if it said."""

    def __init__(self, come_back_s: int | None = None) -> None:
        super().__init__("The model is overloaded at the moment; try again shortly.", headers=SOON)
        self.come_back_s = come_back_s
