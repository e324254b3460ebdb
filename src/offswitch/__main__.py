"""``python -m offswitch``."""

from offswitch.cli import main

if __name__ == "__main__":
    main()
