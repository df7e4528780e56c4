"""Connections of clients, one module for each protocol they speak."""
