from tests.stage import house, stage

__all__ = ["house", "stage"]
