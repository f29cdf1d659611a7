"""Exports: same query, same numbers as page, API and invoice. One file per kind."""
