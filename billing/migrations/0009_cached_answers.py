from django.db import migrations, models

from billing.sql import install

USAGE_COLUMN = """
alter table billing_usageevent add column if not exists cache_percent smallint
  check (cache_percent between 0 and 100)
"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0008_batches_in_hashes'),
    ]

    operations = [
        migrations.RunSQL(USAGE_COLUMN, migrations.RunSQL.noop),
        migrations.AddField(
            model_name='usagereversal',
            name='cache_percent',
            field=models.SmallIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='invoiceline',
            name='cache_percent',
            field=models.SmallIntegerField(null=True),
        ),
        install("net_usage"),
        install("closing"),
        install("reversals"),
    ]
