"""Alembic's entry: runs on the connection that `cloud.facts.database` hands over."""

from alembic import context

from cloud.facts.all_tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
