from django.db import migrations

from billing.sql import install


class Migration(migrations.Migration):
    dependencies = [("billing", "0020_what_exceeds_its_hold_is_found")]
    operations = [install("closing"), install("holds")]
