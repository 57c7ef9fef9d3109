"""Watch the real traffic of a release that was just promoted, judge it, and roll it back if it misbehaves."""
