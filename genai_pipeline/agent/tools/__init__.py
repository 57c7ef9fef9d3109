"""What the agent can do: its own tools, and those of MCP servers."""
