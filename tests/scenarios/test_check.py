"""check judges what the inventory states, or with --live what KMS says, and writes nothing to the cloud."""

from pathlib import Path

import pytest

from audit.simulator import parse_faults
from tests.command import (
    DESCRIBE,
    FAST,
    LIST,
    STATUS,
    Operator,
    begin,
    calls,
    events,
    outcomes,
    results,
    rows,
    waiting,
    writes,
)
from tests.simulated import PROJECT, REGION, core, key, key_id, running

EXAMPLE = Path(__file__).parents[2] / "inventory.example.csv"
ON = {"key_rotation_enabled": "true"}
STATED = {"origin": "kms", "key_spec": "AES_256", "key_state": "2", "default_key_flag": "0"}
begun = begin()


# Offline ------------------------------------------------------------------------------------------------------------


@waiting
def test_offline_nothing_is_sent(operator: Operator) -> None:
    """Without --live KMS is not asked, even with credentials and an endpoint at hand."""
    keys = [key(n, **STATED, key_rotation_enabled="true") for n in range(3)]
    simulated = core(keys)
    with running(simulated) as url:
        ended = operator.run("check", operator.inventory(keys), KMS_ROTATION_ENDPOINT=url)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"compliant": 3})
    assert not simulated.log


@waiting
def test_the_example_meets_every_rule(operator: Operator) -> None:
    """The example that comes along shows every verdict that an inventory alone can bring about."""
    ended = operator.run("check", EXAMPLE)
    told = results(ended.directory)
    assert ended.exit_code == 4
    assert sum(outcomes(ended.directory).values()) == len(EXAMPLE.read_text(encoding="utf-8").splitlines()) - 1
    assert set(outcomes(ended.directory)) == {
        "compliant", "non_compliant", "ineligible", "blocked", "rejected", "unknown"
    }  # fmt: skip
    assert told["counts"] == {**dict.fromkeys(told["counts"], 0), **outcomes(ended.directory)}


@waiting
def test_what_is_assumed_and_what_is_missing_is_said(operator: Operator) -> None:
    """The summary names the columns without which nothing can be judged, and --live, and what was assumed."""
    ended = operator.run("check", operator.write("ids.csv", f"key_id,owner\n{key_id(1)},me\n,\n\n{key_id(2)},you\n"))
    assert (ended.exit_code, outcomes(ended.directory)) == (4, {"unknown": 2})
    for name in ("origin", "key_spec", "key_state", "key_rotation_enabled", "default_key_flag", "--live"):
        assert name in ended.stderr
    for name in ("keystore_id", "domain_id", "multi_region_key_type"):
        assert name in ended.stderr
    assert "no records: 2" in ended.stderr
    assert [(row["line"], row["owner"]) for row in rows(ended.directory)] == [("2", "me"), ("5", "you")]


@pytest.mark.parametrize(
    ("interval", "policy", "outcome"),
    [
        ("", 365, "compliant"),
        ("", 364, "unknown"),
        ("180", 180, "compliant"),
        ("181", 180, "non_compliant"),
        ("365", 364, "non_compliant"),
        ("30", 30, "compliant"),
    ],
)
@waiting
def test_an_interval_is_held_against_the_policy(operator: Operator, interval: str, policy: int, outcome: str) -> None:
    """An interval that is not stated passes only the policy of 365 days, which KMS cannot exceed."""
    stated = key(1, **STATED, **ON, rotation_interval=interval)
    ended = operator.run("check", operator.inventory([stated]), "--max-interval", policy)
    (row,) = rows(ended.directory)
    assert row["outcome"] == outcome
    assert row["rules"] == ("C02" if outcome == "non_compliant" else "")


@pytest.mark.parametrize(("domain", "rules"), [("a" * 32, ""), ("b" * 32, "E06"), ("", "")])
@waiting
def test_a_shared_key_is_told_by_our_own_domain(operator: Operator, domain: str, rules: str) -> None:
    """Whose keys are ours follows from HUAWEICLOUD_SDK_DOMAIN_ID; without it, E06 is not judged and that is said."""
    inventory = operator.inventory([key(1, **STATED, **ON, domain_id="a" * 32)])
    ended = operator.run("check", inventory, HUAWEICLOUD_SDK_DOMAIN_ID=domain)
    (row,) = rows(ended.directory)
    assert row["rules"] == rules
    page = (ended.directory / "report.html").read_text(encoding="utf-8")
    assert ("E06 (is shared by another account) was not judged" in page) is not domain


@waiting
def test_an_inventory_may_come_from_standard_input(operator: Operator) -> None:
    """``-`` reads standard input; the report names it and its SHA-256."""
    text = (operator.home / operator.inventory([key(1, **STATED, **ON)])).read_bytes()
    ended = operator.run("check", "-", typed=text)
    assert (ended.exit_code, results(ended.directory)["run"]["input"]["name"]) == (0, "standard input")
    assert len(results(ended.directory)["run"]["input"]["sha256"]) == 64


# Live ---------------------------------------------------------------------------------------------------------------


@waiting
def test_live_the_cloud_is_judged_and_drift_is_told(operator: Operator) -> None:
    """With --live KMS's word counts; every stated field on which the two disagree is listed."""
    stated = [
        key(1, **STATED, **ON),
        key(2, **STATED, key_rotation_enabled="false", key_alias="old-name"),
        key(3, **{**STATED, "key_state": "3"}, **ON),
    ]
    true = [
        key(1, **STATED, key_rotation_enabled="false"),
        key(2, **STATED, **ON, key_alias="new-name"),
        key(3, **STATED, **ON),
    ]
    simulated = core(true)
    with running(simulated) as url:
        ended = operator.run("check", operator.inventory(stated), "--live", "--endpoint", url, *FAST)
    assert ended.exit_code == 3
    assert [row["outcome"] for row in rows(ended.directory)] == ["non_compliant", "compliant", "compliant"]
    drift = results(ended.directory)["population"]["drift"]
    assert [(one["line"], one["field"], one["inventory"], one["kms"]) for one in drift] == [
        (2, "key_rotation_enabled", "true", "false"),
        (3, "key_alias", "old-name", "new-name"),
        (3, "key_rotation_enabled", "false", "true"),
        (4, "key_state", "3", "2"),
    ]
    assert not writes(simulated)


@waiting
def test_live_only_the_id_is_needed(operator: Operator) -> None:
    """An inventory of ids alone is enough for --live; region and project come from the options."""
    keys = [key(1, **ON), key(2), key(3, key_spec="RSA_2048"), key(4, key_alias="evs/default")]
    simulated = core(keys)
    inventory = operator.inventory(keys, columns=["key_id"])
    with running(simulated) as url:
        place = ("--region", REGION, "--project-id", PROJECT)
        ended = operator.run("check", inventory, "--live", "--endpoint", url, *place, *FAST)
    assert [row["outcome"] for row in rows(ended.directory)] == [
        "compliant", "non_compliant", "ineligible", "ineligible"
    ]  # fmt: skip
    assert calls(simulated) == {LIST: 1}


@waiting
def test_keys_that_nobody_listed_are_told(operator: Operator) -> None:
    """Keys in KMS that the inventory does not name are counted and listed, of every spec, and fail no check."""
    keys = [key(n, key_spec="SM4" if n % 2 else "EC_P256", **ON) for n in range(6)]
    simulated = core([*keys, key(9, project_id="f" * 32)])
    with running(simulated) as url:
        ended = operator.run("check", operator.inventory(keys[:2]), "--live", "--endpoint", url, *FAST)
    told = results(ended.directory)["population"]
    assert ended.exit_code == 0
    assert [one["key_id"] for one in told["unlisted"]] == [key_id(n) for n in range(2, 6)]
    assert [(one["listed"], one["total"], one["unlisted"]) for one in told["places"]] == [(6, 6, 4)]
    page = (ended.directory / "report.html").read_text(encoding="utf-8")
    assert all(key_id(n) in page for n in range(6))
    assert key_id(9) not in page


@waiting
def test_a_key_that_kms_does_not_have_is_missing(operator: Operator) -> None:
    """A key that the walk does not show is asked for by its id; 404 makes it missing, anything else unknown."""
    keys = [key(n, **ON) for n in range(3)]
    for faults, outcome, exit_code in (("", "missing", 3), ("refuse/reads=KMS.0306@2+", "unknown", 4)):
        simulated = core(keys[:2], faults=parse_faults(faults))
        with running(simulated) as url:
            ended = operator.run("check", operator.inventory(keys), "--live", "--endpoint", url, *FAST)
        assert (ended.exit_code, outcomes(ended.directory)) == (exit_code, {"compliant": 2, outcome: 1})
        assert calls(simulated) == {LIST: 1, DESCRIBE: 1}


@waiting
def test_where_listing_is_forbidden_keys_are_read_one_by_one(operator: Operator) -> None:
    """Whoever may read keys but not list them gets a verdict on each; the population says that it was not counted."""
    keys = [key(n, **ON) for n in range(7)]
    simulated = core([*keys, key(8)], faults=parse_faults("permission/reads@1"))
    with running(simulated) as url:
        ended = operator.run("check", operator.inventory(keys), "--live", "--endpoint", url, *FAST)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"compliant": 7})
    assert calls(simulated) == {LIST: 1, DESCRIBE: 7}
    assert "not counted" in (ended.directory / "report.html").read_text(encoding="utf-8")
    assert not results(ended.directory)["population"]["unlisted"]


@waiting
def test_intervals_are_read_only_where_they_matter(operator: Operator) -> None:
    """The rotation status of a key costs a request, made only for keys that rotate under a policy below 365 days."""
    keys = [key(n, **ON, rotation_interval=str(90 * n or 30)) for n in range(4)] + [key(9)]
    for policy, asked, told in (
        (365, 0, ["compliant"] * 4 + ["non_compliant"]),
        (180, 4, ["compliant"] * 3 + ["non_compliant"] * 2),
    ):
        simulated = core(keys)
        with running(simulated) as url:
            arguments = ("--live", "--endpoint", url, *FAST, "--max-interval", policy)
            ended = operator.run("check", operator.inventory(keys), *arguments)
        assert calls(simulated).get(STATUS, 0) == asked
        assert [row["outcome"] for row in rows(ended.directory)] == told


@waiting
def test_a_large_place_takes_one_request_a_page(operator: Operator) -> None:
    """2,500 keys are read with three requests, and counted against the total that KMS states."""
    keys = [key(n, **ON) for n in range(2500)]
    simulated = core(keys)
    with running(simulated) as url:
        ended = operator.run("check", operator.inventory(keys), "--live", "--endpoint", url, *FAST)
    assert (ended.exit_code, outcomes(ended.directory)) == (0, {"compliant": 2500})
    assert calls(simulated) == {LIST: 3}
    (walked,) = [body for _, _, _, body in events(ended.directory, "walked")]
    assert (walked["listed"], walked["total"], walked["count_differs"]) == (2500, 2500, False)


@waiting
def test_every_place_is_walked_once(operator: Operator) -> None:
    """Region and project of a record decide where it is looked for; the same id in two places is two keys."""
    regions, projects = ("cn-north-4", "eu-de"), ("a" * 32, "b" * 32)
    keys = [key(1, region=region, project_id=project) for region in regions for project in projects]
    simulated = core([*keys[:3], key(2, project_id="c" * 32)])
    with running(simulated) as url:
        ended = operator.run("check", operator.inventory(keys), "--live", "--endpoint", url, *FAST)
    assert calls(simulated) == {LIST: 4}
    assert {served.project_id for served in simulated.log} == set(projects)
    assert len(rows(ended.directory)) == 4


@waiting
def test_a_simulated_check_is_marked_for_good(operator: Operator) -> None:
    """A rehearsal needs no credentials and says SIMULATED in its name, its page and its data."""
    ended = operator.run("check", EXAMPLE, "--simulate", HUAWEICLOUD_SDK_AK="", HUAWEICLOUD_SDK_SK="")
    assert ended.directory.name.endswith("-simulated")
    assert "SIMULATED" in (ended.directory / "report.html").read_text(encoding="utf-8")
    assert results(ended.directory)["run"]["simulated"] is True
    assert "SIMULATED" in ended.stderr


def test_a_rejected_record_is_shown_as_stated(operator: Operator) -> None:
    """What the inventory states of a record that cannot be used stands in its row all the same."""
    ended = operator.run("check", EXAMPLE)
    (twice,) = [row for row in rows(ended.directory) if row["reason"] == "key_id: duplicate of line 2"]
    assert (twice["outcome"], twice["key_alias"], twice["rotation_before"]) == ("rejected", "payments-db", "true")
