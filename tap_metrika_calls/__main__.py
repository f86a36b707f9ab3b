"""Makes `python -m tap_metrika_calls` run the tap."""

from tap_metrika_calls.cli import main

main()
