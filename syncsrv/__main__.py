"""``python -m syncsrv`` is the command ``syncsrv``."""

from syncsrv.cli.main import main

if __name__ == "__main__":
    main()
