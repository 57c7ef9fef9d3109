"""The hub of one machine: it serves the folder demo/hub as the Hugging Face hub serves its repositories."""
