"""Which ids of which frameworks our controls support evidence for.

Only ids that the vendor documents, or that Prowler's published mappings name for this check or for its twin on AWS.
None is here from memory, and nothing here says that a standard is met.
"""

from audit.report.facets import ControlLine
from audit.report.language import Language

_TWIN = (
    ("NIST SP 800-53 Rev. 5", "SC-12"),
    ("NIST SP 800-53 Rev. 5", "SC-12(2)"),
    ("ISO/IEC 27001:2022", "A.8.24"),
    ("BSI C5:2025", "CRY-05.02B"),
    ("NIS2", "11.6.2.c"),
    ("SecNumCloud 3.2", "10.5"),
    ("HIPAA", "164.312(a)(2)(iv)"),
    ("ENS RD2022", "op.exp.10"),
)
_FINOS = ("FINOS CCC v2025.10", "CCC.KeyMgmt.CN03.AR01")


def lines(say: Language) -> tuple[ControlLine, ...]:
    """The table, in order: by control, what is about Huawei Cloud first."""
    vendor = say("the vendor's documentation of this rule of Huawei Cloud Config")
    prowler = say("Prowler's check of the same on Huawei Cloud; the benchmark itself was not seen")
    twin = say("Prowler's mapping of its check of the same on AWS; the text itself was not compared")
    longest = say("Prowler's mapping of its check of the same on AWS: rotation at least every 365 days")
    return (
        ControlLine("C01", "Huawei Cloud Config", "kms-rotation-enabled", vendor),
        ControlLine("C01", "CIS Huawei Cloud Foundations v1.0.0", "8.1", prowler),
        *(ControlLine("C01", framework, id_, twin) for framework, id_ in _TWIN),
        ControlLine("C01", *_FINOS, longest),
        ControlLine("C02", *_FINOS, longest),
    )
