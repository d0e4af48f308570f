"""``python -m riskscale.cli``."""

from riskscale.cli import main

if __name__ == "__main__":
    main()
