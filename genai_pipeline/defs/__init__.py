"""The definitions of the code location, as `dg` loads them."""
