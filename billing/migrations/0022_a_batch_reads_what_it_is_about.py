from django.db import migrations

from billing.sql import install


class Migration(migrations.Migration):
    dependencies = [("billing", "0021_a_budget_that_refuses_is_told")]
    operations = [install("ledger"), install("closing"), install("holds"), install("reversals")]
