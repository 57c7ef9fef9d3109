"""Posts notices to people, through a webhook that takes Slack's JSON."""
