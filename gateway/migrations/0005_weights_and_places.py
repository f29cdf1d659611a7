from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('gateway', '0004_anthropic_provider'),
    ]

    operations = [
        migrations.AddField(
            model_name='provider',
            name='concurrency',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='deployment',
            name='weight',
            field=models.PositiveSmallIntegerField(default=1),
        ),
        migrations.AddConstraint(
            model_name='provider',
            constraint=models.CheckConstraint(condition=models.Q(('concurrency', 0), _negated=True), name='provider_has_places'),
        ),
        migrations.AddConstraint(
            model_name='deployment',
            constraint=models.CheckConstraint(condition=models.Q(('weight__gte', 1)), name='deployment_has_weight'),
        ),
    ]
