"""The equations of the books, as queries that return the rows that break them.

Each returns nothing when it holds. The numbers are those of the money contract; the gaps belong to
tables that do not exist yet (credit notes, payments, closed periods).
"""

from billing.equations.audit import AUDIT
from billing.equations.base import Equation
from billing.equations.budgets import BUDGETS
from billing.equations.credit import CREDIT
from billing.equations.holds import HOLDS
from billing.equations.invoices import INVOICES
from billing.equations.ledger import LEDGER
from billing.equations.usage import USAGE

EQUATIONS: tuple[Equation, ...] = (*LEDGER, *HOLDS, *USAGE, *BUDGETS, *CREDIT, *INVOICES, *AUDIT)

__all__ = ["EQUATIONS", "Equation"]
