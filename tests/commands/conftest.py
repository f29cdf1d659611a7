from tests.commands.manage import here, manage

__all__ = ["here", "manage"]
