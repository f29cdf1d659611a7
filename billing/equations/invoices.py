"""Invoices: no gap, no repeat, and to the cent what was used."""

from billing.equations.base import Equation

INVOICES: tuple[Equation, ...] = (
    Equation(
        "I18",
        "an invoice series has no gap, no repeat, and is ordered in time",
        """select s.name || ' ' || coalesce(i.number, 0), i.place, s.next_number
        from billing_invoiceseries s left join (
          select series_id, number, issued_at,
            row_number() over (partition by series_id order by number) place,
            lag(issued_at) over (partition by series_id order by number) before,
            count(*) over (partition by series_id) total
          from billing_invoice where state = 'final'
        ) i on i.series_id = s.name
        where (i.number is null and s.next_number <> 1) or i.number <> i.place
          or i.issued_at < i.before or i.total <> s.next_number - 1""",
    ),
    Equation(
        "I19a",
        "an invoice's usage and total are the sums of its lines",
        """select 'invoice ' || i.id, i.usage_nanos, coalesce(l.nanos, 0)
        from billing_invoice i left join (select invoice_id, sum(amount_nanos) nanos,
          sum(amount_cents) cents from billing_invoiceline group by 1) l on l.invoice_id = i.id
        where i.usage_nanos <> coalesce(l.nanos, 0) or i.total_cents <> coalesce(l.cents, 0)""",
    ),
    Equation(
        "I19b",
        "an invoice bills exactly the usage of its organization in its period",
        """select 'invoice ' || i.id, i.usage_nanos, coalesce(sum(u.amount_nanos), 0)
        from billing_invoice i left join billing_usagenet u on u.org_id = i.org_id
          and u.occurred_at >= i.period_start and u.occurred_at < i.period_end
        where i.state = 'final' group by i.id, i.usage_nanos
        having i.usage_nanos <> coalesce(sum(u.amount_nanos), 0)""",
    ),
    Equation(
        "I19c",
        "every call of a closed time is on exactly one line: final invoices follow on each other,"
        " leave nothing out before them, and their lines say what was used",
        """with live as (
          select id, org_id, period_start, period_end,
            lag(period_end) over (partition by org_id order by period_start) as before
          from billing_invoice where state = 'final'
        ), used as (
          select i.id, u.project_id, u.model, u.price_version_id, coalesce(u.cache_percent, -1)
            as percent, sum(u.amount_nanos) amount
          from live i join billing_usagenet u on u.org_id = i.org_id
            and u.occurred_at >= i.period_start and u.occurred_at < i.period_end
          group by 1, 2, 3, 4, 5
        ), said as (
          select i.id, l.project_id, l.model, l.price_version_id, coalesce(l.cache_percent, -1)
            as percent, sum(l.amount_nanos) amount
          from live i join billing_invoiceline l on l.invoice_id = i.id group by 1, 2, 3, 4, 5
        )
        select 'invoice ' || id || ' begins', extract(epoch from period_start)::bigint,
          extract(epoch from before)::bigint
        from live where period_start <> before
        union all
        select u.request_id || ' on no invoice', u.amount_nanos, 0
        from billing_usagenet u join (
          select org_id, max(period_end) as until from live group by 1
        ) c on c.org_id = u.org_id and u.occurred_at < c.until
        where u.amount_nanos <> 0 and not exists (select 1 from live i where i.org_id = u.org_id
          and u.occurred_at >= i.period_start and u.occurred_at < i.period_end)
        union all
        select concat_ws(' ', 'invoice', id, 'project', project_id, model, 'version',
          price_version_id), coalesce(s.amount, 0), coalesce(u.amount, 0)
        from used u full join said s using (id, project_id, model, price_version_id, percent)
        where coalesce(s.amount, 0) <> coalesce(u.amount, 0)""",
    ),
    Equation(
        "I20",
        "the rounding posted is the cents charged minus the nanos used",
        """select 'invoice ' || i.id, i.rounding_nanos,
          i.due_cents::numeric * 10000000 - (i.usage_nanos - i.prepaid_nanos)
        from billing_invoice i where i.state = 'final'
          and i.rounding_nanos
            <> i.due_cents::numeric * 10000000 - (i.usage_nanos - i.prepaid_nanos)
        union all
        select 'invoice ' || i.id || ' in the ledger', i.rounding_nanos, coalesce((
          select -sum(e.amount_nanos) from billing_ledgerentry e
          join billing_ledgeraccount a on a.id = e.account_id
          where e.txn_id = i.ledger_txn_id and a.code = 'rounding'), 0)
        from billing_invoice i where i.state = 'final' and i.rounding_nanos <> coalesce((
          select -sum(e.amount_nanos) from billing_ledgerentry e
          join billing_ledgeraccount a on a.id = e.account_id
          where e.txn_id = i.ledger_txn_id and a.code = 'rounding'), 0)""",
    ),
    Equation(
        "I21",
        "the hash of a final document is that of its bytes",
        """select 'invoice ' || id, 1, 0 from billing_invoice
        where state = 'final' and (pdf is null or pdf_sha256 <> encode(sha256(pdf), 'hex'))""",
    ),
    Equation(
        "I22",
        "a receivable equals the invoices on it",
        """select 'organization ' || b.org_id, b.receivable_nanos, coalesce(i.due, 0)
        from billing_billingaccount b left join (select org_id,
          sum(due_cents::numeric * 10000000) due from billing_invoice where state = 'final'
          group by 1) i on i.org_id = b.org_id
        where b.receivable_nanos <> coalesce(i.due, 0)""",
    ),
)
