"""What beat wakes is there, and every task of ours is woken by it."""

from celery import current_app
from django.conf import settings

from config.celery import application


def test_every_task_is_on_the_schedule_and_every_scheduled_task_exists() -> None:
    application.loader.import_default_modules()
    ours = {name for name in current_app.tasks if not name.startswith("celery.")}

    assert {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} == ours
