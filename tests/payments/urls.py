"""Both of the doors that programs use, in one process: the customers' API and the webhook."""

from billing import urls_api
from config import urls

urlpatterns = [*urls_api.urlpatterns, *urls.urlpatterns]
