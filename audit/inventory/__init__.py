"""The inventory: a CSV becomes keys and rejected records, each with the physical line on which it begins.

``source`` makes text of bytes, ``table`` makes records of text, ``keys`` makes keys of records.
"""

from audit.inventory.keys import Defaults, Inventory, extra_columns, open_inventory, stated_facts
from audit.inventory.table import KNOWN_COLUMNS

__all__ = ["KNOWN_COLUMNS", "Defaults", "Inventory", "extra_columns", "open_inventory", "stated_facts"]
