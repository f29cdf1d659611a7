from django.db import migrations, models

from billing.sql import install


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0002_money_statements'),
    ]

    operations = [
        migrations.CreateModel(
            name='UsageRollup',
            fields=[
                ('pk', models.CompositePrimaryKey('org_id', 'hour', 'project_id', 'key_id', 'model', blank=True, editable=False, primary_key=True, serialize=False)),
                ('org_id', models.BigIntegerField()),
                ('hour', models.DateTimeField()),
                ('project_id', models.BigIntegerField()),
                ('key_id', models.BigIntegerField()),
                ('model', models.CharField(max_length=200)),
                ('requests', models.BigIntegerField()),
                ('input', models.DecimalField(decimal_places=0, max_digits=38)),
                ('cached_input', models.DecimalField(decimal_places=0, max_digits=38)),
                ('cache_write', models.DecimalField(decimal_places=0, max_digits=38)),
                ('output', models.DecimalField(decimal_places=0, max_digits=38)),
                ('reasoning', models.DecimalField(decimal_places=0, max_digits=38)),
                ('image', models.DecimalField(decimal_places=0, max_digits=38)),
                ('audio_input', models.DecimalField(decimal_places=0, max_digits=38)),
                ('audio_output', models.DecimalField(decimal_places=0, max_digits=38)),
                ('embedding', models.DecimalField(decimal_places=0, max_digits=38)),
                ('request', models.DecimalField(decimal_places=0, max_digits=38)),
                ('amount_nanos', models.DecimalField(decimal_places=0, max_digits=38)),
                ('first_token_ms', models.BigIntegerField()),
                ('first_token_count', models.BigIntegerField()),
                ('duration_ms', models.BigIntegerField()),
                ('duration_count', models.BigIntegerField()),
            ],
        ),
        install("rollups"),
    ]
