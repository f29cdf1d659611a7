from django.db import migrations

from billing.sql import install


class Migration(migrations.Migration):
    dependencies = [("billing", "0017_unused_holds_are_found_by_end")]
    operations = [install("closing")]
