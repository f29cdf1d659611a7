from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0003_stall_timeout'),
    ]

    operations = [
        migrations.AlterField(
            model_name='provider',
            name='kind',
            field=models.CharField(choices=[('simulator', 'Simulator'), ('openai', 'Openai'), ('anthropic', 'Anthropic')], max_length=12),
        ),
    ]
