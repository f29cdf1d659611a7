from django.db import migrations

from billing.sql import install


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_quarantine_is_told")]
    operations = [install("reversals")]
