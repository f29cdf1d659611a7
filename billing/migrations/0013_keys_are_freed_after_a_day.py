from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0012_unkept_answers_are_reversed")]
    operations = [
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(
                condition=models.Q(("idem_key__isnull", False)),
                fields=["closed_at"],
                name="hold_keyed_by_end",
            ),
        ),
    ]
