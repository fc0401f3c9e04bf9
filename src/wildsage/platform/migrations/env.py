"""Alembic's entry: run the revisions on the connection that the store has open."""

from __future__ import annotations

from alembic import context

from wildsage.platform.records import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=False,  # the store's own transaction is around all of it
)
context.run_migrations()
