"""What building adds to the files of the checkout: each ``.po`` of the reports compiled to the ``.mo`` beside it.

hatchling calls it for a wheel and for an editable install; an sdist carries the sources and is built from again.
"""

from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileCatalogs(BuildHookInterface):
    """The hook named by ``[tool.hatch.build.targets.wheel.hooks.custom]``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's
        """Compile, and list what was made: ``.gitignore`` names it, and hatchling obeys that."""
        for po in sorted(Path(self.root, "reports", "locale").rglob("*.po")):
            mo = po.with_suffix(".mo")
            with po.open("rb") as source, mo.open("wb") as target:
                write_mo(target, read_po(source, locale=po.parts[-3], abort_invalid=True))
            build_data["artifacts"].append(f"/{mo.relative_to(self.root).as_posix()}")
