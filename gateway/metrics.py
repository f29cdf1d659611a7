"""Counters of one process, in the text form Prometheus reads."""

from collections import Counter


class Metrics:
    """Plain integers on the hot path; rendered when asked."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        self.output_tokens = 0
        self.adopted_calls = 0

    def render(
        self, *, in_flight: int, backlog: int, journal_owed: int, local_limits: int
    ) -> bytes:
        lines = [
            "# TYPE tollgate_calls_total counter",
            *(
                f'tollgate_calls_total{{status="{status}"}} {count}'
                for status, count in sorted(self.calls.items())
            ),
            "# TYPE tollgate_output_tokens_total counter",
            f"tollgate_output_tokens_total {self.output_tokens}",
            "# TYPE tollgate_adopted_calls_total counter",
            f"tollgate_adopted_calls_total {self.adopted_calls}",
            "# TYPE tollgate_rate_limits_local_total counter",
            f"tollgate_rate_limits_local_total {local_limits}",
            "# TYPE tollgate_calls_in_flight gauge",
            f"tollgate_calls_in_flight {in_flight}",
            "# TYPE tollgate_unsettled_backlog gauge",
            f"tollgate_unsettled_backlog {backlog}",
            "# TYPE tollgate_journal_owed gauge",
            f"tollgate_journal_owed {journal_owed}",
        ]
        return ("\n".join(lines) + "\n").encode()
