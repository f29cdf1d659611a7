"""The demo organisation: seeded once, its credentials kept, so that every start can show them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .child import Command, run_once
from .environment import ROOT, write_private
from .errors import StackError
from .folder import DataFolder
from .roles import manage

SEED_TIMEOUT_S = 120.0
LATER = "(shown at the first start only)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demo command printed; a secret is None where nobody knows it any more."""

    org_id: str | None = None
    api_key: str | None = None
    operator_email: str | None = None
    operator_password: str | None = None
    member_email: str | None = None
    member_password: str | None = None


def seed(folder: DataFolder, env: Mapping[str, str]) -> Demo:
    """Run the demo command, which does nothing the second time, and return all it ever said.

    Raises: StackError when it fails.
    """
    command = Command(
        name="demo",
        argv=manage("demo", "--json"),
        env=env,
        cwd=ROOT,
        log=folder.logs / "demo.log",
    )
    printed = _parse(run_once(command, timeout_s=SEED_TIMEOUT_S))
    path = folder.root / "demo.json"
    known = _parse(path.read_text()) if path.exists() else {}
    demo = Demo(**{**known, **printed})
    write_private(path, json.dumps(asdict(demo), indent=1) + "\n")
    return demo


def describe(demo: Demo, env: Mapping[str, str], logs: Path) -> str:
    """Render what a newcomer needs: addresses, sign-in, key, a call that works, the way out."""
    api = env.get("PUBLIC_API_URL") or f"http://127.0.0.1:{env['API_PORT']}"
    web = env.get("PUBLIC_WEB_URL") or f"http://127.0.0.1:{env['WEB_PORT']}"
    body = '{"model":"hacxgpt","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
    call = (
        f"curl -N {api}/v1/chat/completions -H 'Authorization: Bearer {demo.api_key or '$KEY'}'"
        f" -H 'Content-Type: application/json' -d '{body}'"
    )
    return f"""
Tollgate is up.

  API       {api}/v1
  Console   {web}/
  Operator  {demo.operator_email or LATER} · {demo.operator_password or LATER}
  Customer  {demo.member_email or LATER} · {demo.member_password or LATER}
  API key   {demo.api_key or LATER}

  Try it:
  {call}

  Logs      {logs}
  Stop      Ctrl-C
"""


def _parse(text: str) -> dict[str, Any]:
    """Return the known members of a JSON object that are not null."""
    try:
        members = json.loads(text)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise StackError("The demo's credentials are not a JSON object: see demo.json.")
    names = {field.name for field in fields(Demo)}
    return {name: value for name, value in members.items() if name in names and value is not None}
