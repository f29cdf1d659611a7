"""Where a provider may be: what every way of writing its base URL asks first."""

from django.conf import settings

from kernel.addresses import check_url
from kernel.errors import BadRequestError

WITHOUT_ADDRESS = "simulator"


def check_base_url(kind: str, base_url: str) -> None:
    """Refuse the address of a provider that we would not call; the built-in one has none.

    Raises:
        BadRequestError: for another scheme, a name or password in it, a private or odd host.

    """
    if kind == WITHOUT_ADDRESS:
        if base_url:
            raise BadRequestError("This kind of provider has no address.", param="base_url")
        return
    if not base_url.startswith(("http://", "https://")):
        raise BadRequestError("A base URL starts with http:// or https://.", param="base_url")
    check_url(base_url, settings.PROVIDER_NETWORKS)
