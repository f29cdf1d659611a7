from django.db import migrations, models

from billing.sql import install


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_invoices_follow_on_each_other")]
    operations = [
        migrations.AddField(
            model_name="quarantine",
            name="written_off_nanos",
            field=models.BigIntegerField(db_default=0),
        ),
        install("quarantine"),
    ]
