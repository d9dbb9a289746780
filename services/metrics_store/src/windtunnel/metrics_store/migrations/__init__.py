"""The migrations of the database, run at every start. A new one: `alembic revision --autogenerate`, see README.md."""
