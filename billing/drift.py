"""Drift: how far providers' figures are from our own counts, and what calls earn.

Compared are completed calls that are charged on the provider's figures and that we counted too:
text only, since pictures and sound are counted nowhere but there, and not out of the cache.
Thinking may be relayed or hidden: from ``output`` to ``output + reasoning``, the figure nearest to
our count is compared. Tokens are cut differently everywhere: it is a change of the difference that
says something.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg import Connection
from psycopg.rows import TupleRow

from kernel.money import render_usd, round_half_even

# Fewer calls say nothing.
FEWEST_COMPARED = 100
_QUERY: LiteralString = """
with calls as (
  select u.*, u.evidence = 'provider' and u.outcome = 'completed' and u.counted_input is not null
      and u.counted_output is not null and u.image + u.audio_input + u.audio_output = 0
      and u.cache_percent is null
      as is_compared,
    u.input + u.cached_input + u.cache_write + u.embedding as prompt,
    least(greatest(u.counted_output, u.output), u.output + u.reasoning) as completion
  from billing_usageevent u where u.occurred_at >= %s and u.occurred_at < %s
)
select provider, model, count(*),
  count(*) filter (where evidence = 'provider'), count(*) filter (where evidence = 'counted'),
  count(*) filter (where evidence = 'estimated'), count(*) filter (where is_compared),
  coalesce(sum(prompt) filter (where is_compared), 0),
  coalesce(sum(counted_input) filter (where is_compared), 0),
  coalesce(sum(completion) filter (where is_compared), 0),
  coalesce(sum(counted_output) filter (where is_compared), 0),
  sum(amount_nanos), count(upstream_nanos),
  coalesce(sum(amount_nanos) filter (where upstream_nanos is not null), 0),
  coalesce(sum(upstream_nanos), 0)
from calls group by 1, 2 order by 1, 2
"""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a provider reported beside what we counted, in tokens."""

    reported: int
    counted: int

    @property
    def difference_bp(self) -> int:
        """The difference in hundredths of a per cent of our count, half to even."""
        return round_half_even((self.reported - self.counted) * 10_000, max(1, self.counted))


@dataclass(frozen=True, slots=True)
class Drift:
    """A provider's model over a time. Costs and charges of calls whose cost is on file."""

    provider: str
    model: str
    requests: int
    by_provider: int
    by_count: int
    by_estimate: int
    compared: int
    prompt: Compared
    completion: Compared
    charged_nanos: int
    costed: int
    costed_charged_nanos: int
    cost_nanos: int

    @property
    def margin_nanos(self) -> int:
        return self.costed_charged_nanos - self.cost_nanos

    def alarms(self, percent: int) -> Sequence[tuple[str, Compared]]:
        """Return what differs by more than ``percent``, where enough calls were compared."""
        sides = (("prompt", self.prompt), ("completion", self.completion))
        if self.compared < FEWEST_COMPARED:
            return ()
        return [(name, side) for name, side in sides if abs(side.difference_bp) > percent * 100]

    def as_row(self) -> dict[str, str | int | None]:
        return {
            "provider": self.provider,
            "model": self.model,
            "requests": self.requests,
            "compared": self.compared,
            "prompt_reported": self.prompt.reported,
            "prompt_counted": self.prompt.counted,
            "prompt_diff_percent": render_percent(self.prompt.difference_bp),
            "completion_reported": self.completion.reported,
            "completion_counted": self.completion.counted,
            "completion_diff_percent": render_percent(self.completion.difference_bp),
            "counted_percent": self._share(self.by_count),
            "estimated_percent": self._share(self.by_estimate),
            "charged_usd": render_usd(self.charged_nanos, places=2),
            "cost_usd": render_usd(self.cost_nanos, places=2) if self.costed else None,
            "margin_usd": render_usd(self.margin_nanos, places=2) if self.costed else None,
        }

    def _share(self, requests: int) -> str:
        return render_percent(round_half_even(requests * 10_000, self.requests))


def read_drift(connection: Connection[TupleRow], since: datetime, until: datetime) -> list[Drift]:
    """Return a row for each provider and model that served calls in the half-open range."""
    rows = connection.execute(_QUERY, (since, until)).fetchall()
    return [_parse(row) for row in rows]


def render_percent(basis_points: int) -> str:
    whole, rest = divmod(abs(basis_points), 100)
    return f"{'-' if basis_points < 0 else ''}{whole}.{rest:02d}"


def _parse(row: TupleRow) -> Drift:
    counts = [int(value) for value in row[2:]]
    return Drift(
        provider=row[0],
        model=row[1],
        requests=counts[0],
        by_provider=counts[1],
        by_count=counts[2],
        by_estimate=counts[3],
        compared=counts[4],
        prompt=Compared(counts[5], counts[6]),
        completion=Compared(counts[7], counts[8]),
        charged_nanos=counts[9],
        costed=counts[10],
        costed_charged_nanos=counts[11],
        cost_nanos=counts[12],
    )
