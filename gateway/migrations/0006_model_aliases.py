import django.db.models.deletion
import kernel.clock
from django.db import migrations, models

# A name is a model's or an alias's, never both. The lock is on the name, since two transactions
# that do not see each other's row could otherwise each take it.
ONE_NAMESPACE = """
create or replace function refuse_shadowed_model_name() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('model name ' || new.name, 0));
  if tg_table_name = 'gateway_modelalias' then
    perform 1 from gateway_publicmodel where name = new.name;
  else
    perform 1 from gateway_modelalias where name = new.name;
  end if;
  if found then
    raise unique_violation using message = format('%s is the name of a model or alias', new.name);
  end if;
  return new;
end $$;
create trigger one_namespace before insert or update of name on gateway_modelalias
  for each row execute function refuse_shadowed_model_name();
create trigger one_namespace before insert or update of name on gateway_publicmodel
  for each row execute function refuse_shadowed_model_name()
"""
TWO_NAMESPACES = """
drop trigger one_namespace on gateway_publicmodel;
drop trigger one_namespace on gateway_modelalias;
drop function refuse_shadowed_model_name()
"""


class Migration(migrations.Migration):
    dependencies = [("gateway", "0005_weights_and_places")]
    operations = [
        migrations.CreateModel(
            name="ModelAlias",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=200, unique=True)),
                (
                    "created_at",
                    models.DateTimeField(default=kernel.clock.now, editable=False),
                ),
                (
                    "public_model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="aliases",
                        to="gateway.publicmodel",
                    ),
                ),
            ],
            options={"verbose_name_plural": "model aliases"},
        ),
        migrations.RunSQL(ONE_NAMESPACE, TWO_NAMESPACES),
    ]
