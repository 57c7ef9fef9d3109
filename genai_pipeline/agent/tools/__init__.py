"""The agent's tools: its own, and those of MCP servers."""
