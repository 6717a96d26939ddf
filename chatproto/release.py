"""Which release this is; `setup.py` says the same."""

RELEASE = "0.1.0"
