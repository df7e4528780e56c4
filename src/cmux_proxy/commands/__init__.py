"""The subcommands of cmux-proxy, one file each. They print; errors are for `cli.py` to tell."""
