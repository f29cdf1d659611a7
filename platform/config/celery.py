"""The Celery application: messages are wake-up hints, the truth is rows."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = Celery("tollgate")
application.config_from_object("django.conf:settings", namespace="CELERY")
application.autodiscover_tasks()
app = application
