from django.db import migrations

from billing.sql import install

PLATFORM_ACCOUNTS = [
    ("cash:manual", "asset"),
    ("provider_cost", "expense"),
    ("promotional_expense", "expense"),
    ("bad_debt", "expense"),
    ("platform_loss", "expense"),
    ("refunds", "expense"),
    ("rounding", "income"),
    ("breakage", "income"),
    ("usage_revenue", "income"),
    ("tax", "liability"),
]


def open_platform_accounts(apps, schema_editor):
    account = apps.get_model("billing", "LedgerAccount")
    for code, kind in PLATFORM_ACCOUNTS:
        account.objects.get_or_create(org=None, code=code, kind=kind, currency="USD")


# Django adds an index for LIKE to every text key. Nobody searches request ids by pattern, and each
# index costs the hot path a write.
DROP_PATTERN_INDEXES = """
do $$ declare i record; begin
  for i in select indexname from pg_indexes
    where tablename in ('billing_hold', 'billing_usageid', 'billing_journalowner')
      and indexdef like '%varchar_pattern_ops%'
  loop execute format('drop index %I', i.indexname); end loop;
end $$
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("accounts", "0001_initial")]
    operations = [
        migrations.RunSQL(DROP_PATTERN_INDEXES, migrations.RunSQL.noop),
        install("usage"),
        install("periods"),
        install("ledger"),
        install("holds"),
        install("invoices"),
        migrations.RunPython(open_platform_accounts, migrations.RunPython.noop),
    ]
