"""Alembic migrations of the store; ``openreg db upgrade`` runs them."""
