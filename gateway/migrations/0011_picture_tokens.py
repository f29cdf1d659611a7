from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0010_limit_field'),
    ]

    operations = [
        migrations.AddField(
            model_name='publicmodel',
            name='picture_tokens',
            field=models.PositiveIntegerField(default=4784),
        ),
    ]
