"""Node pools: what they offer, which pods they can host, and what is misspelt in them."""
