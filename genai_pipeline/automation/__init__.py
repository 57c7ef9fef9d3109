"""What starts runs: sensors, schedules, jobs."""
