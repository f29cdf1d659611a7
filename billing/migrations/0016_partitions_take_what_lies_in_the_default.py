from django.db import migrations

from billing.sql import install


class Migration(migrations.Migration):
    dependencies = [("billing", "0015_windows_keep_their_highest_limit")]
    operations = [install("usage")]
