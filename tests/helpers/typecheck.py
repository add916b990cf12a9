"""The checker of annotations in tests: where a float is taken, a whole number will do."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
