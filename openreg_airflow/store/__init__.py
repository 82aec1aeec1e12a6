"""The tables of the product itself: models, migrations, sessions."""
