"""Where people are told of things: a webhook that takes Slack's JSON."""
