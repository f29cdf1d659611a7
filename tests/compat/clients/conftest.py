"""Python's other clients call the server of the data plane."""

from tests.stage import house

__all__ = ["house"]
