"""The march: the only room that knows Prefect."""
