from django.db import migrations, models

from billing.sql import install


class Migration(migrations.Migration):
    dependencies = [("billing", "0014_the_platforms_chain_has_an_end")]
    operations = [
        migrations.AddField(
            model_name="budgetwindow",
            name="highest_limit",
            field=models.BigIntegerField(null=True),
        ),
        install("holds"),
    ]
