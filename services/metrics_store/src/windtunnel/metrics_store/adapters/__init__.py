"""The database: SQLite or PostgreSQL behind SQLAlchemy."""
