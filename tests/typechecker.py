"""How annotations are checked in tests: with beartype, an int being a fine float (PEP 484)."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
