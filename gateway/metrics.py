"""Counters of one process, in the text form Prometheus reads."""

from collections import Counter
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class Metrics(Collector):
    """Counted on the hot path; gauges are set when somebody asks."""

    def __init__(self) -> None:
        self._calls_by_status: Counter[int] = Counter()
        self._doubts_by_provider: Counter[str] = Counter()
        self._output_tokens = 0
        self._adopted_calls = 0
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._gauges = {
            name: Gauge(f"tollgate_{name}", says, registry=self._registry)
            for name, says in (
                ("calls_in_flight", "Calls being served."),
                ("unsettled_backlog", "Settlements waiting to be committed."),
                ("loop_lag_ms", "How far the event loop is behind, in milliseconds."),
                ("journal_owed", "Calls that are not in the books yet."),
                ("rate_limits_local", "Calls limited without Redis since the start."),
                ("circuits_open", "Providers' models that are left alone at the moment."),
                ("failovers", "Times that another provider was asked since the start."),
                ("failovers_denied", "Times that the budget of retries forbade it."),
                ("cache_hits", "Calls answered out of the cache since the start."),
                ("cache_misses", "Calls that asked for the cache and were not."),
            )
        }

    def count_call(self, status: int, output_tokens: int) -> None:
        self._calls_by_status[status] += 1
        self._output_tokens += output_tokens

    def count_doubt(self, provider: str) -> None:
        """Count a call whose provider reported figures that were not believed."""
        self._doubts_by_provider[provider] += 1

    def count_adopted(self, calls: int) -> None:
        self._adopted_calls += calls

    def collect(self) -> Iterable[Metric]:
        """Yield the counters as they stand."""
        for name, says, label, counts in (
            ("tollgate_calls", "Calls that have ended.", "status", self._calls_by_status),
            (
                "tollgate_usage_not_believed",
                "Calls whose provider's figures were not believed.",
                "provider",
                self._doubts_by_provider,
            ),
        ):
            family = CounterMetricFamily(name, says, labels=[label])
            for value, count in counts.items():
                family.add_metric([str(value)], count)
            yield family
        for name, says, count in (
            ("tollgate_output_tokens", "Tokens relayed.", self._output_tokens),
            ("tollgate_adopted_calls", "Calls of dead processes.", self._adopted_calls),
        ):
            yield CounterMetricFamily(name, says, value=count)

    def render(self, **gauges: int) -> bytes:
        """Return everything; ``gauges`` are named without their prefix."""
        for name, value in gauges.items():
            self._gauges[name].set(value)
        return generate_latest(self._registry)
