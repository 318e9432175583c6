"""`python -m interplay`."""

from interplay.cli import main

main(prog_name="interplay")
