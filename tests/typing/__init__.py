"""What type checkers must accept and what they must refuse, tried with mypy and pyright as users run them."""
