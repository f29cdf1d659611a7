from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0011_picture_tokens'),
    ]

    operations = [
        migrations.AddField(
            model_name='provider',
            name='anthropic_version',
            field=models.CharField(choices=[('2023-06-01', '2023-06-01'), ('2026-10-21', '2026-10-21')], default='2023-06-01', max_length=10),
        ),
    ]
