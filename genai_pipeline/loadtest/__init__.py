"""Put load on an endpoint and judge what came back."""
