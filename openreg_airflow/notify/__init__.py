"""Verdicts to people: e-mail, Slack and webhooks."""
