"""Prefect's server: the local stack, deployments, automations, and talking to its API."""
