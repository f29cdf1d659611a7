from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0007_provider_keys'),
    ]

    operations = [
        migrations.AddField(
            model_name='publicmodel',
            name='thinks_unseen',
            field=models.BooleanField(default=False),
        ),
    ]
