"""Is there room for a candidate beside the live release, how will traffic move, and what does it cost."""
