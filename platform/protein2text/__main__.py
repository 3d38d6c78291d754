"""The ``protein2text`` command as a process: Ctrl-C is quiet too while the command itself is imported."""

import sys

from protein2text.termination import EXIT_INTERRUPTED, EXIT_TERMINATED, is_termination


def main() -> None:
    """Entry point of the console script and of ``python -m protein2text``."""
    try:
        from protein2text import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as end:
        sys.exit(EXIT_TERMINATED if is_termination(end) else end.code)


if __name__ == "__main__":
    main()
