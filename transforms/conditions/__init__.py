"""A `where`: its text becomes a Polars expression, and nothing else can."""
