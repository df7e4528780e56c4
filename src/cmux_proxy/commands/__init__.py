"""The subcommands of cmux-proxy, one file each. They print; `cli.py` reports their errors."""
