

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0009_first_token_timeout'),
    ]

    operations = [
        migrations.AddField(
            model_name='deployment',
            name='limit_field',
            field=models.CharField(blank=True, choices=[('max_tokens', 'max_tokens'), ('max_completion_tokens', 'max_completion_tokens')], default='', max_length=21),
        ),
    ]
