"""The audit trail: who changed what, in chains that hold."""

from billing.equations.base import Equation

AUDIT: tuple[Equation, ...] = (
    Equation(
        "I25c",
        "every audit event is chained to the one before it, and says what it said",
        """select 'audit event ' || e.id, 1, 0 from (
          select e.id, e.prev_hash <> lag(e.hash, 1, decode(repeat('00', 32), 'hex'))
              over (partition by e.org_id order by e.id)
            or e.hash <> audit_digest(e) as is_broken
          from accounts_auditevent e
        ) e where e.is_broken""",
    ),
    Equation(
        "I25d",
        "the last audit event of an organization and of the platform is the end of its chain",
        """select 'audit chain ' || coalesce(c.scope, e.scope), 1, 0
        from accounts_auditchain c full join (
          select distinct on (coalesce(org_id, 0)) coalesce(org_id, 0) as scope, hash
          from accounts_auditevent order by coalesce(org_id, 0), id desc
        ) e on e.scope = c.scope where c.head is distinct from e.hash""",
    ),
)
