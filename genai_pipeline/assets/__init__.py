"""Every asset of the graph, each in a file of its name, and what they share."""
