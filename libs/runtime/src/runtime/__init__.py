"""What both services need to run: two listeners, health, drain, logs, metrics, problem+json."""
