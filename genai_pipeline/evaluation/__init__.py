"""Put an agent through a suite of cases and judge what it did."""
