"""The ledger: transactions that balance, balances that are their sums, chains that hold."""

from billing.equations.base import Equation

LEDGER: tuple[Equation, ...] = (
    Equation(
        "I1",
        "every transaction sums to zero",
        """select 'transaction ' || txn_id, sum(amount_nanos), 0 from billing_ledgerentry
        group by txn_id having sum(amount_nanos) <> 0""",
    ),
    Equation(
        "I2",
        "the trial balance is zero in every currency",
        """select 'trial balance ' || a.currency, sum(e.amount_nanos), 0
        from billing_ledgerentry e join billing_ledgeraccount a on a.id = e.account_id
        group by a.currency having sum(e.amount_nanos) <> 0""",
    ),
    Equation(
        "I3",
        "every transaction has two entries or more, in one currency",
        """select 'transaction ' || t.id, count(e.seq), count(distinct a.currency)
        from billing_ledgertransaction t left join billing_ledgerentry e on e.txn_id = t.id
        left join billing_ledgeraccount a on a.id = e.account_id
        group by t.id having count(e.seq) < 2 or count(distinct a.currency) <> 1""",
    ),
    Equation(
        "I4",
        "running balances equal the sum of their entries",
        """select o.public_id || ' ' || s.code, s.running,
          coalesce(s.sign * (select sum(e.amount_nanos) from billing_ledgeraccount a
            join billing_ledgerentry e on e.account_id = a.id
            where a.org_id = b.org_id and a.code = s.code), 0)
        from billing_billingaccount b join accounts_organization o on o.id = b.org_id
        cross join lateral (values
          ('deferred_revenue', -1, b.deferred_nanos), ('unbilled_receivable', 1, b.unbilled_nanos),
          ('promotional_credit', -1, b.promotional_nanos),
          ('receivable', 1, b.receivable_nanos)) s(code, sign, running)
        where s.running <> coalesce(s.sign * (select sum(e.amount_nanos)
          from billing_ledgeraccount a join billing_ledgerentry e on e.account_id = a.id
          where a.org_id = b.org_id and a.code = s.code), 0)""",
    ),
    Equation(
        "I5",
        "no account is beneath its floor",
        """select o.public_id, deferred_nanos + promotional_nanos + credit_limit_nanos
          - unbilled_nanos, held_nanos
        from billing_billingaccount b join accounts_organization o on o.id = b.org_id
        where deferred_nanos < 0 or promotional_nanos < 0 or unbilled_nanos < 0 or held_nanos < 0
          or line_held_nanos < 0
          or (mode = 'prepaid' and deferred_nanos + promotional_nanos < held_nanos)""",
    ),
    Equation(
        "I25a",
        "every ledger transaction is chained to the one before it, and says what it said",
        """select 'transaction ' || t.id, 1, 0 from (
          select t.*, lag(t.hash, 1, decode(repeat('00', 32), 'hex'))
              over (partition by t.org_id order by t.id) as before,
            e.entries
          from billing_ledgertransaction t left join (
            select txn_id, string_agg(concat_ws(':', seq, account_id, amount_nanos), ','
              order by seq) entries
            from billing_ledgerentry group by 1
          ) e on e.txn_id = t.id
        ) t
        where t.prev_hash <> t.before or t.hash <> ledger_digest(t.prev_hash, t.id, t.org_id,
          t.kind, t.idem_key, t.effective_at, t.recorded_at, t.reverses_id, t.reason, t.actor,
          t.entries)""",
    ),
    Equation(
        "I25b",
        "the last transaction of an organization and of the platform is the end of its chain",
        """select o.public_id, 1, 0
        from billing_billingaccount b join accounts_organization o on o.id = b.org_id
        left join lateral (
          select hash from billing_ledgertransaction t where t.org_id = b.org_id
          order by id desc limit 1
        ) t on true
        where b.ledger_head <> coalesce(t.hash, decode(repeat('00', 32), 'hex'))
        union all
        select 'the platform', 1, 0
        from (select * from billing_ledgerchain where scope = 0) c full join (
          select hash from billing_ledgertransaction where org_id is null order by id desc limit 1
        ) t on true where c.head is distinct from t.hash""",
    ),
)
