"""``manage project create|list|limits``: the parts of an organization that spend."""

from typing import Any

from accounts.access import operator_org, operator_project_by_id
from accounts.commands import ACTOR, VerbCommand, add_limit_flags, limits_of, read_limits
from accounts.models import Project
from accounts.projects import create_project
from accounts.rate_limits import limit_project
from kernel.cli import print_row, print_rows


class Command(VerbCommand):
    help = "Create and list projects, limit the rate of their calls."

    def add_verbs(self, verbs: Any) -> None:
        create = self.add_verb(verbs, "create", "Open a project of an organization.")
        create.add_argument("name")
        create.add_argument("--org", required=True, metavar="ID")
        listing = self.add_verb(verbs, "list", "List projects.")
        listing.add_argument("--org", metavar="ID")
        limits = self.add_verb(verbs, "limits", "Show or change a project's rate limits.")
        limits.add_argument("id")
        add_limit_flags(limits)

    def do_create(self, options: dict[str, Any]) -> None:
        project = create_project(operator_org(options["org"]), options["name"], actor=ACTOR)
        print_row(_row(project), as_json=options["json"])

    def do_list(self, options: dict[str, Any]) -> None:
        projects = Project.objects.select_related("org").order_by("id")
        if options["org"]:
            projects = projects.filter(org=operator_org(options["org"]))
        print_rows([_row(project) for project in projects], as_json=options["json"])

    def do_limits(self, options: dict[str, Any]) -> None:
        project = operator_project_by_id(options["id"])
        project = limit_project(project, read_limits(options), actor=ACTOR)
        print_row(_row(project), as_json=options["json"])


def _row(project: Project) -> dict[str, Any]:
    return {
        "id": project.public_id,
        "name": project.name,
        "org": project.org.public_id,
        "archived_at": project.archived_at,
        **limits_of(project),
    }
