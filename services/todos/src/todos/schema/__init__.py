"""Tables, migrations, roles and the check of them."""
