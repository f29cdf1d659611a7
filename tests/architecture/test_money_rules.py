"""Rules about money: integers only, and one door to the ledger."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.tree import PACKAGES, ROOT, name_of, parse, sources

# Waits between batches; a rule below sees to it that no money is in there.
FLOATS_ALLOWED = {"billing/queues.py", "billing/tick_connection.py", "billing/writer.py"}
MONEY = ("billing",)
# Where the gateway bounds, holds and charges.
GATEWAY_MONEY = (
    *("admission", "dialects/receipts", "estimate", "media_bounds", "metering", "sale", "tranches"),
)
KERNEL_MONEY = ROOT / "platform" / "kernel" / "money.py"
SECONDS = ("_s", "_at")
LEDGER = ("billing_ledgertransaction", "billing_ledgerentry")
LEDGER_MODELS = {"LedgerTransaction", "LedgerEntry"}


def money_modules() -> list[Path]:
    gateway = [ROOT / "gateway" / f"{name}.py" for name in GATEWAY_MONEY]
    return [*sources(*MONEY), KERNEL_MONEY, *gateway]


def without_comments(sql: str) -> str:
    return re.sub(r"--[^\n]*", "", sql)


def test_no_money_path_knows_a_float_but_for_seconds() -> None:
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in money_modules()
        if name_of(path) not in FLOATS_ALLOWED
        for node in floats(parse(path))
    ]

    assert found == []


def floats(tree: ast.Module) -> Iterator[ast.Constant | ast.Name]:
    """Yield literals and the word ``float``; what is named as a time (``PAUSE_S``) is let be."""
    seconds = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.arg) and names_seconds(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in seconds:
            continue
        if isinstance(node, ast.Constant) and type(node.value) is float:
            yield node
        if isinstance(node, ast.Name) and node.id == "float":
            yield node


def names_seconds(node: ast.Assign | ast.AnnAssign | ast.arg) -> bool:
    if isinstance(node, ast.arg):
        return node.arg.endswith(SECONDS)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return all(isinstance(name, ast.Name) and name.id.lower().endswith(SECONDS) for name in targets)


def test_no_money_path_divides_with_a_slash() -> None:
    found = [
        f"{name_of(path)}:{division.lineno}"
        for path in money_modules()
        for division in true_divisions(parse(path))
    ]

    assert found == []


def true_divisions(tree: ast.Module) -> Iterator[ast.BinOp | ast.AugAssign]:
    """Yield divisions; a path followed by a name is none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            name = isinstance(node.right, ast.JoinedStr) or (
                isinstance(node.right, ast.Constant) and isinstance(node.right.value, str)
            )
            if not name:
                yield node
        elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div):
            yield node


def test_the_modules_with_seconds_in_them_round_no_money() -> None:
    for name in FLOATS_ALLOWED:
        tree = parse(ROOT / name)
        assert "_nanos" not in ast.unparse(tree), name


def test_the_sql_of_the_money_has_no_binary_fractions_and_no_division() -> None:
    for path in sources("billing", suffix=".sql"):
        sql = without_comments(path.read_text(encoding="utf-8"))
        assert re.findall(r"\b(?:float\d?|real|double precision)\b", sql) == [], path.name
        assert "/" not in sql, path.name


def test_the_limits_script_handles_no_money() -> None:
    script = (ROOT / "gateway" / "limits.lua").read_text(encoding="utf-8")

    assert re.findall(r"nanos|price|usd|amount", without_comments(script), re.IGNORECASE) == []


def test_only_the_ledgers_own_sql_writes_transactions_and_entries() -> None:
    writing = re.compile(
        rf"\b(insert\s+into|update|delete\s+from|copy)\s+({'|'.join(LEDGER)})\b", re.IGNORECASE
    )
    files = [*sources(*PACKAGES), *sources("billing", "gateway", "accounts", suffix=".sql")]

    writers = {name_of(p) for p in files if writing.search(p.read_text(encoding="utf-8"))}

    assert writers == {"billing/sql/ledger.sql"}


def test_no_python_creates_or_changes_ledger_rows_through_a_model() -> None:
    changing = {"create", "bulk_create", "get_or_create", "update", "bulk_update", "delete"}
    changing |= {"update_or_create", "save", "acreate", "aupdate", "adelete", "asave"}

    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources(*PACKAGES)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in changing
        and LEDGER_MODELS & {n.id for n in ast.walk(node.func) if isinstance(n, ast.Name)}
    ]

    assert found == []


def test_the_lock_order_is_spelled_in_one_module_and_the_tick() -> None:
    lockers = {
        name_of(path)
        for path in sources("billing")
        if re.search(r"BillingAccount\.objects\.select_for_update", path.read_text("utf-8"))
    }

    assert lockers == {"billing/locks.py"}
