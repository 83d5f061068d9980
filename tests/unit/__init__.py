"""Public behaviour of single parts, without a broker."""
