"""What is told to the outside: how exchanges and tunnels ended. Knows no connection."""
