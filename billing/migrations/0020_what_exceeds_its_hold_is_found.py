from django.db import migrations

from billing.sql import install


class Migration(migrations.Migration):
    dependencies = [("billing", "0019_an_old_key_is_free_at_once")]
    operations = [install("usage")]
