"""Changes of the tables, in Alembic's form; loaded only for a database that is older than this code."""
