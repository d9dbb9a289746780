"""`python -m windtunnel.cli`, and the entry point of `windtunnel`."""

from windtunnel.cli.main import main

if __name__ == "__main__":
    main()
