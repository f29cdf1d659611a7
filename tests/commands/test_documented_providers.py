"""The commands of docs/providers.md work as they are printed."""

import re
import shlex

import pytest
from django.conf import LazySettings

from gateway.demo import seed_catalog
from gateway.models import Deployment, Provider
from tests.commands.manage import Here
from tests.servers import ROOT


def test_every_command_works_as_printed(
    here: Here, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PROVIDER_NETWORKS = []
    seed_catalog(test_models=False)
    page = (ROOT / "docs" / "providers.md").read_text()
    blocks = "".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL)).replace("\\\n", " ")
    for line in blocks.splitlines():
        first, *words = shlex.split(line)
        if first == "export":
            monkeypatch.setenv(*words[0].split("=", 1))
        else:
            assert (first, words[0]) == ("./tollgate", "manage")
            said = here(*words[1:])
            assert (said.code, said.err) == (0, ""), line

    gemini = Provider.objects.get(name="gemini")
    assert gemini.base_url == "https://generativelanguage.googleapis.com/v1beta/openai"
    served = Deployment.objects.filter(provider=gemini).values_list("public_model__name", flat=True)
    assert set(served) == {"gemini-flash", "gemini-2.5-pro"}
