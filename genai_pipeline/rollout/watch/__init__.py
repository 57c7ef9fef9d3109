"""Does what was just promoted behave? Look at its real traffic, judge it, and go back where that must be."""
