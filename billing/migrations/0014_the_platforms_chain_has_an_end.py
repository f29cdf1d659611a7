from django.db import migrations, models

import billing.models.ledger
from billing.sql import install

HEAD = """
insert into billing_ledgerchain (scope, head)
select 0, hash from billing_ledgertransaction where org_id is null order by id desc limit 1
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0013_keys_are_freed_after_a_day")]
    operations = [
        migrations.CreateModel(
            name="LedgerChain",
            fields=[
                ("scope", models.BigIntegerField(primary_key=True, serialize=False)),
                ("head", models.BinaryField(default=billing.models.ledger.NO_HASH, max_length=32)),
            ],
        ),
        install("ledger"),
        migrations.RunSQL(HEAD, migrations.RunSQL.noop),
    ]
