
from django.db import migrations, models


def copy(apps, schema_editor):
    """What was one time for both goes on being the same time for both."""
    providers = apps.get_model('gateway', 'Provider').objects
    providers.update(first_token_timeout_s=models.F('read_timeout_s'))


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0008_thinks_unseen'),
    ]

    operations = [
        migrations.AddField(
            model_name='provider',
            name='first_token_timeout_s',
            field=models.PositiveIntegerField(default=60),
        ),
        migrations.RunPython(copy, migrations.RunPython.noop),
    ]
