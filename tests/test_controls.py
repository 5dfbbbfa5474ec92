"""Framework ids: only those with a source, in the reports as in the documents, and never as a claim of compliance."""

import re
from pathlib import Path

from audit.report import controls
from audit.report.language import ENGLISH
from audit.rules import RULES, Kind
from tests.test_report import Rendered, full

NOT_VERIFIED = ("PCI", "3.7.4", "CC6.1", "PI1.5", "CEK-12", "800-57", "GB/T", "CIS AWS", "KMS.4", "SC-12(6)", "3.7.5")


def test_every_line_names_a_control_of_ours_and_whose_word_it_is() -> None:
    """Each control that the rules have supports something, and no line stands without its basis."""
    told = controls.lines(ENGLISH)
    assert {line.control for line in told} == {rule.id for rule in RULES if rule.kind is Kind.CONTROL}
    assert len(set(told)) == len({(line.control, line.framework, line.id) for line in told}) == len(told)
    assert all(re.search("documentation|Prowler", line.basis) for line in told)


def test_what_nobody_verified_is_left_out() -> None:
    """No id from general knowledge, none that is an analogy only, and none of a mapper's own numbering."""
    told = " ".join(f"{line.framework} {line.id}" for line in controls.lines(ENGLISH))
    assert not [name for name in NOT_VERIFIED if name in told]


def test_the_data_of_a_report_holds_the_table(tmp_path: Path) -> None:
    """run_results.json has every line, and no report says that a standard is met."""
    found = Rendered(tmp_path / "out", full(tmp_path).write())
    assert found.json["controls"][0] == {
        "control": "C01", "framework": "Huawei Cloud Config", "id": "kms-rotation-enabled",
        "basis": "the vendor's documentation of this rule of Huawei Cloud Config",
    }  # fmt: skip
    assert len(found.json["controls"]) == len(controls.lines(ENGLISH))
    claims = re.compile("certified|compliant with", re.IGNORECASE)
    assert not [name for name in ("report.html", "run_results.json") if claims.search(found.text(name))]
