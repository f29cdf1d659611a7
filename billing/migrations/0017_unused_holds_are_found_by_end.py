from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0016_partitions_take_what_lies_in_the_default")]
    operations = [
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(
                condition=models.Q(("state__in", ["released", "expired"])),
                fields=["closed_at"],
                name="hold_unused_by_end",
            ),
        ),
    ]
