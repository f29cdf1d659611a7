"""Telling people and programs what happened: the outbox, e-mail, webhooks."""
