"""What an operator's Prometheus reads of a process."""

import re
from types import SimpleNamespace
from typing import Any

import requests

from gateway.metrics import Metrics
from gateway.records import record_call
from tests.calls import chat_body, post, wait_for
from tests.stage import Stage


def counted(text: str, name: str) -> int:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def read(stage: Stage) -> str:
    answer = requests.get(stage.api.url + "/metrics", timeout=10)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    return answer.text


def test_calls_tokens_and_doubts_are_counted() -> None:
    metrics = Metrics()
    metrics.count_call(200, 7)
    metrics.count_call(200, 5)
    metrics.count_call(429, 0)
    metrics.count_adopted(3)
    metrics.count_doubt("acme")

    text = metrics.render(calls_in_flight=2, unsettled_backlog=1).decode()

    assert {
        name: counted(text, name)
        for name in (
            'tollgate_calls_total{status="200"}',
            'tollgate_calls_total{status="429"}',
            "tollgate_output_tokens_total",
            "tollgate_adopted_calls_total",
            'tollgate_usage_not_believed_total{provider="acme"}',
            "tollgate_calls_in_flight",
            "tollgate_unsettled_backlog",
        )
    } == {
        'tollgate_calls_total{status="200"}': 2,
        'tollgate_calls_total{status="429"}': 1,
        "tollgate_output_tokens_total": 12,
        "tollgate_adopted_calls_total": 3,
        'tollgate_usage_not_believed_total{provider="acme"}': 1,
        "tollgate_calls_in_flight": 2,
        "tollgate_unsettled_backlog": 1,
    }
    assert "# TYPE tollgate_calls_total counter" in text


def test_a_call_that_nobody_answered_counts_as_a_fault_of_ours() -> None:
    metrics = Metrics()
    runtime: Any = SimpleNamespace(metrics=metrics)
    unanswered: Any = SimpleNamespace(status=0, is_over=False, request_id="req_1", started_at=0.0)

    record_call(runtime, unanswered, None)

    text = metrics.render(calls_in_flight=0, unsettled_backlog=0).decode()
    assert counted(text, 'tollgate_calls_total{status="500"}') == 1
    assert counted(text, 'tollgate_calls_total{status="499"}') == 0


def test_a_process_tells_of_its_calls_and_of_figures_it_does_not_believe(stage: Stage) -> None:
    served, doubted = (
        'tollgate_calls_total{status="200"}',
        'tollgate_usage_not_believed_total{provider="mock"}',
    )
    before = read(stage)

    url, key = stage.api.url, stage.acme.key_text
    assert post(url, key, chat_body(mock={"chunks": 3})).status_code == 200
    absurd = {"prompt_tokens": 10**9, "completion_tokens": 3, "total_tokens": 10**9 + 3}
    assert post(url, key, chat_body(mock={"chunks": 3, "usage": absurd})).status_code == 200

    wait_for(lambda: counted(read(stage), served) == counted(before, served) + 2)
    assert counted(read(stage), doubted) == counted(before, doubted) + 1
