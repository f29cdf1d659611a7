from django.db import migrations

from billing.sql import install


class Migration(migrations.Migration):
    dependencies = [("billing", "0018_a_low_balance_counts_the_credit_line")]
    operations = [install("holds")]
