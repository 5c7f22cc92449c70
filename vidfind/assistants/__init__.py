"""A door for assistants: they search, look at moments and make clips through the Model Context Protocol (MCP)."""
