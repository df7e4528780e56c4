"""What is run on the project itself: the documentation's pages, and releases."""
