"""Counters of one process, in the text form Prometheus reads."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Metrics:
    """Counted on the hot path; gauges are set when somebody asks."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = self._counter("tollgate_calls", "Calls that have ended.", "status")
        self._calls_by_status: dict[int, Counter] = {}
        self._output_tokens = self._counter("tollgate_output_tokens", "Tokens relayed.")
        self._adopted_calls = self._counter("tollgate_adopted_calls", "Calls of dead processes.")
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
        counter = self._calls_by_status.get(status)
        if counter is None:
            counter = self._calls_by_status[status] = self._calls.labels(str(status))
        counter.inc()
        if output_tokens:
            self._output_tokens.inc(output_tokens)

    def count_adopted(self, calls: int) -> None:
        self._adopted_calls.inc(calls)

    def render(self, **gauges: int) -> bytes:
        """Return everything; ``gauges`` are named without their prefix."""
        for name, value in gauges.items():
            self._gauges[name].set(value)
        return generate_latest(self._registry)

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(name, says, labels, registry=self._registry)
