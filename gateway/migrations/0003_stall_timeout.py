
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0002_rate_limits_per_level'),
    ]

    operations = [
        migrations.AddField(
            model_name='provider',
            name='stall_timeout_s',
            field=models.PositiveIntegerField(default=30),
        ),
    ]
