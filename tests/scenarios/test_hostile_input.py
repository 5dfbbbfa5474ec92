"""What is written into an inventory, an option or an answer cannot choose a host, run anything or learn a secret."""

import re

import pytest

from audit.simulator import parse_faults
from tests.command import (
    FAST,
    LIST,
    Operator,
    begin,
    calls,
    left_behind,
    one_message,
    outcomes,
    results,
    rows,
    waiting,
    writes,
)
from tests.simulated import ACCESS_KEY, PROJECT, REGION, SECRET_KEY, core, key, key_id, running

TOKEN = "MADE-UP-SECURITY-TOKEN/+=of-no-session-0123456789abcdefghij"
begun = begin()


# Places that are none -----------------------------------------------------------------------------------------------

REGIONS = [
    "evil.example/#",
    "evil.example:443/",
    "127.0.0.1:1/#",
    "cn-north-4.evil.example",
    "user@evil.example",
    "cn-north-4@evil.example/",
    "CN-NORTH-4",
    "cn-north-4\n",
    "\uff43\uff4e-north-4",
    "..",
    "{region}",
    "a-" + "b" * 70,
]
PROJECTS = [
    f"{PROJECT}/kms/disable-key-rotation?x=",
    f"{PROJECT}/../{'f' * 32}",
    f"{PROJECT}%2f..%2f",
    f"{PROJECT}#",
    f"{PROJECT}?",
    "..",
    ".",
    "x y",
    "\u0661\u0662",
    "a" * 65,
    "a\r\nX-Auth-Token: b",
]


def quoted(text: str) -> str:
    """A cell, quoted."""
    return '"' + text.replace('"', '""') + '"'


def test_a_cell_chooses_no_host_and_no_operation(operator: Operator) -> None:
    """Regions and projects that are none are rejected one by one; nothing is sent for them, the good key is done."""
    lines = [f"{key_id(n)},{quoted(region)},{PROJECT}" for n, region in enumerate(REGIONS, 10)]
    lines += [f"{key_id(n)},{REGION},{quoted(project)}" for n, project in enumerate(PROJECTS, 50)]
    lines += [f"{key_id(1)},{REGION},{PROJECT}"]
    inventory = operator.write("hostile.csv", "\n".join(["key_id,region,project_id", *lines, ""]))
    simulated = core([key(1)])
    with running(simulated) as url:
        ended = operator.run("remediate", inventory, "--yes", "--endpoint", url, *FAST)
    told = rows(ended.directory)
    surroundings = {"cn-north-4\n"}  # surrounding blanks are no part of a value
    rejected = len(REGIONS) - len(surroundings) + len(PROJECTS)
    assert ended.exit_code == 4
    assert outcomes(ended.directory) == {"rejected": rejected, "missing": 1, "remediated": 1}
    assert all(row["reason"].startswith(("region", "project_id")) for row in told if row["outcome"] == "rejected")
    assert {(served.project_id, served.operation) for served in simulated.log} <= {
        (PROJECT, operation) for operation in ("list-keys", "enable-key-rotation", "describe-key")
    }
    assert [served.key_id for served in writes(simulated)] == [key_id(1)]


@pytest.mark.parametrize("region", ["evil.example/#", "cn-north-4@evil.example", "{region}", "CN"])
@pytest.mark.parametrize("way", ["option", "environment"])
@waiting
def test_an_option_chooses_no_host(operator: Operator, region: str, way: str) -> None:
    """The same check guards --region and KMS_ROTATION_REGION: 2, and nothing is sent."""
    simulated = core([key(1)])
    inventory = operator.inventory([key(1, region="")])
    with running(simulated) as url:
        arguments = ("check", inventory, "--live", "--endpoint", url)
        if way == "option":
            ended = operator.run(*arguments, "--region", region)
        else:
            ended = operator.run(*arguments, KMS_ROTATION_REGION=region)
    assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (2, "", [])
    assert "--region" in ended.stderr
    assert not simulated.log


@pytest.mark.parametrize("project", [f"{PROJECT}/kms/disable-key-rotation?x=", "..", "a b"])
@pytest.mark.parametrize("variable", ["", "KMS_ROTATION_PROJECT_ID", "HUAWEICLOUD_SDK_PROJECT_ID"])
@waiting
def test_an_option_chooses_no_operation(operator: Operator, project: str, variable: str) -> None:
    """The same check guards --project-id and the variables that stand for it: 2, and nothing is sent."""
    simulated = core([key(1)])
    inventory = operator.inventory([key(1, project_id="")])
    with running(simulated) as url:
        arguments = ("check", inventory, "--live", "--endpoint", url)
        if variable:
            ended = operator.run(*arguments, **{variable: project})
        else:
            ended = operator.run(*arguments, "--project-id", project)
    assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (2, "", [])
    assert "--project-id" in ended.stderr
    assert not simulated.log


@pytest.mark.parametrize(
    "endpoint", ["https://kms.{region}.example.com/x", "http://evil.example", "https://a@b.example"]
)
@waiting
def test_a_variable_chooses_no_endpoint_that_an_option_could_not(operator: Operator, endpoint: str) -> None:
    """KMS_ROTATION_ENDPOINT is checked as --endpoint is."""
    ended = operator.run("check", operator.inventory([key(1)]), "--live", KMS_ROTATION_ENDPOINT=endpoint)
    assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (2, "", [])
    assert one_message(ended.stderr)


def test_the_environment_does_not_steer_requests(operator: Operator) -> None:
    """No proxy is used towards loopback, and no variable of an HTTP library changes where requests go."""
    simulated = core([key(1)])
    nowhere = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), nowhere)
    with running(simulated) as url:
        arguments = ("check", operator.inventory([key(1)]), "--live", "--endpoint", url, *FAST)
        ended = operator.run(*arguments, **proxies, SSL_CERT_FILE="/nowhere", NETRC="/nowhere")
    assert (ended.exit_code, calls(simulated)) == (3, {LIST: 1})


# What is no inventory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such file"),
        ("folder", "this is a folder"),
        (b"", ":1:1: the file is empty"),
        (b"key_id,region\n", ":1:1: a header and no records"),
        (b"key_id,region\n,\n\n", "no records"),
        (b"id,region\nx,y\n", ":1:1: no column key_id"),
        (b"key_id,region,KEY_ID\na,b,c\n", ":1:15: column"),
        (b"PK\x03\x04\x00\x00binary", ":1:5: binary data"),
        (b"\x7fELF\x02\x01\x01\x00", "binary data"),
        (b"key_id,region\n\xff\x81\x20,x\n", "neither UTF-8 nor GB18030"),
        (b'"key_id,region\n', "the header cannot be read"),
    ],
)
@pytest.mark.parametrize("command", ["check", "remediate --yes --simulate"])
@waiting
def test_what_is_no_inventory_stops_before_anything(
    operator: Operator, command: str, content: bytes | str | None, told: str
) -> None:
    """What is no inventory ends with 2 and one message that names the file; nothing is made, nothing is printed."""
    path = operator.home / "input.csv"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    ended = operator.run(*command.split(), "input.csv")
    assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (2, "", [])
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("kms-rotation: input.csv")
    assert told in ended.stderr


def test_a_pipe_and_an_empty_standard_input(operator: Operator) -> None:
    """Standard input that holds nothing, or is closed, is no inventory either."""
    for typed in ("", None):
        ended = operator.run("check", "-", typed=typed)
        assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (2, "", [])
        assert one_message(ended.stderr)


# Values that would do something -------------------------------------------------------------------------------------

NASTY = [
    '=HYPERLINK("http://evil.example")', "+1+1", "-2+3", "@SUM(A1)", "'=1", "\x1b[31mred\x1b[0m", "[bold]x[/bold]",
    "{{ 1111*1111 }}", "{% raw %}", "<script>alert(1)</script>", "\u202ereversed", "a\nb",
]  # fmt: skip


@waiting
def test_values_do_nothing_wherever_they_are_shown(operator: Operator) -> None:
    """Aliases and columns that a spreadsheet, a browser, a terminal or a template would run are shown, not run."""
    lines = [f"{key_id(n)},{REGION},{PROJECT},{quoted(text)},{quoted(text)}" for n, text in enumerate(NASTY)]
    inventory = operator.write("nasty.csv", "\r\n".join(["key_id,region,project_id,key_alias,owner", *lines, ""]))
    ended = operator.run("remediate", inventory, "--yes", "--simulate", *FAST, "-v")
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"remediated": len(NASTY)})
    for row in rows(ended.directory):
        for cell in (row["key_alias"], row["owner"]):
            assert not re.match(r"[=+\-@\t\r]", cell)
    page = (ended.directory / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "1234321" not in page
    assert "\x1b" not in ended.stderr
    assert "\u202e" not in ended.stderr + page
    again = operator.run("check", f"{ended.directory}/report.csv")
    assert [row["owner"] for row in rows(again.directory)] == [row["owner"] for row in rows(ended.directory)]


# Secrets ------------------------------------------------------------------------------------------------------------

STORMS = {
    "an echo": "401-echo/writes@12",
    "an echo when reading": "401-echo/reads@3+",
    "a policy": "policy/writes:.5,drop-after/writes:.2",
    "a redirect": "redirect/writes@9",
    "everything": "drop-after:.1,garbage:.1,502-after:.1,noise:.1,401-echo/writes@30",
}
SECRETS = (ACCESS_KEY, ACCESS_KEY[:-4], SECRET_KEY, TOKEN, TOKEN.replace("/", "\\/"), "c2ltdWxhdGVk")
TELLTALES = re.compile(
    rb"SDK-HMAC-SHA256 Access=|Signature=[0-9a-f]{64}|x-security-token:(?!\[redacted\])", re.IGNORECASE
)


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("name", STORMS)
@waiting
def test_no_secret_is_stored_or_shown(operator: Operator, name: str, log_format: str) -> None:
    """Whatever KMS echoes: access key, secret key, token and signature stand in no file, log or message."""
    keys = [key(n) for n in range(50)]
    simulated = core(keys[:49], security_token=TOKEN, faults=parse_faults(STORMS[name]))
    with running(simulated) as url:
        inventory = operator.inventory(keys)
        arguments = ("--yes", "--endpoint", url, "--rate", "300", "-v", "--log-format", log_format, "--timeout", "2")
        ended = operator.run("remediate", inventory, *arguments, HUAWEICLOUD_SDK_SECURITY_TOKEN=TOKEN)
    assert ended.exit_code in {0, 1, 3, 4}
    files = {path.name: path.read_bytes() for path in ended.directory.iterdir()}
    told = {"standard output": ended.stdout.encode(), "standard error": ended.stderr.encode(), **files}
    assert len(files) >= 6
    for where, content in told.items():
        assert not [secret for secret in SECRETS if secret.encode() in content], where
        assert not TELLTALES.search(content), where
    assert ACCESS_KEY[-4:].encode() in files["report.html"]
    assert results(ended.directory)["run"]["access_key"] == f"...{ACCESS_KEY[-4:]}"


def test_a_secret_in_the_inventory_is_redacted(operator: Operator) -> None:
    """Somebody who pasted a secret into a column does not find it in the reports, the ledger or the log."""
    keys = [key(1, key_alias=f"prod-{SECRET_KEY}"), key(2, account=f"team {TOKEN}")]
    inventory = operator.inventory(keys, extra=f"{SECRET_KEY},,{REGION},{PROJECT},,,,,,,,,,\n")
    ended = operator.run("check", inventory, HUAWEICLOUD_SDK_SECURITY_TOKEN=TOKEN)
    files = {path.name: path.read_bytes() for path in ended.directory.iterdir()}
    for where, content in {"standard error": ended.stderr.encode(), **files}.items():
        assert not [secret for secret in SECRETS if secret.encode() in content], where
    assert len(rows(ended.directory)) == 3


def test_a_refused_key_before_the_plan_tells_no_secret(operator: Operator) -> None:
    """The one message about a 401 that echoes the request holds neither token nor signature."""
    simulated = core([key(1)], security_token=TOKEN, faults=parse_faults("401-echo"))
    with running(simulated) as url:
        inventory = operator.inventory([key(1)])
        ended = operator.run(
            "plan", inventory, "--endpoint", url, "-v", *FAST, HUAWEICLOUD_SDK_SECURITY_TOKEN=TOKEN
        )  # fmt: skip
    assert (ended.exit_code, ended.stdout, left_behind(operator.home)) == (1, "", [])
    assert not [secret for secret in SECRETS if secret in ended.stderr]
    assert not TELLTALES.search(ended.stderr.encode())


def test_secrets_are_not_taken_from_the_command_line(operator: Operator) -> None:
    """There is no option for a secret, on any command; the process list shows none."""
    for command in ("check", "plan", "remediate", "apply", "report", "verify", "rules", "simulator"):
        text = operator.run(command, "--help").stdout.lower()
        assert not re.search(r"--\S*(secret|token|access|password|\bak\b|\bsk\b)", text)
