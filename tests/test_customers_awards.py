"""Awards of customers whom the files name by an identifier of their own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from factories_customers import CUSTOMERS, bills, mapped_definition, phone, who
from factories_imports import BADGE, Brand, brand

from flows.commands.asked_customer import Identifier
from flows.commands.explaining import as_json, explain
from flows.files.counting import counting_activity
from flows.files.finding import read_definition
from flows.partitions import qualified
from flows.pipeline import plan_badges, plan_for, read_activity
from flows.planning import Plan, Qualified
from transforms.awards.awards import PlanResult
from transforms.errors import FilesRefused, PlanRefused
from transforms.platform.badges import BadgeFacts

ANN, BOB, CAT, DAN = (phone(number) for number in range(1, 5))
EARLY = mapped_definition(
    rule='{ kind = "elapsed", since = "customer.enrolled_at", after = "1y" }'
)


def awards(shop: Brand) -> list[tuple[int, str, str]]:
    """Return customer, identifier and status of every award."""
    query = "SELECT customer_id, source_customer_id, status FROM audit ORDER BY 1, 2"
    return shop.ask(query).rows()


def test_the_audit_names_the_identifier_that_proves_an_award(tmp_path: Path) -> None:
    """The identifier as it stands in the row that met the rule."""
    with brand(tmp_path) as shop:
        shop.define(mapped_definition())
        (shop.folder / "who").mkdir()
        shop.write(
            **{"who/all": who(f"101,{ANN},,,", f"101,{BOB},,,", f"102,{CAT},,,")},
            may=bills(ANN, f"+91 {BOB}", CAT, f"0{CAT}", DAN, ""),
            more=bills().replace("\n", "\n", 1),
        )
        shop.define(
            mapped_definition(more="[quality]\nmax_unmapped_share = 0.2\n").replace(
                '"*.csv"', '"may.csv"'
            )
        )
        report = shop.run()
        found = awards(shop)
        (file,) = shop.ask("SELECT * FROM source_files").to_dicts()
    assert report.is_balanced
    assert found == [(101, f"+91 {BOB}", "issued"), (102, f"0{CAT}", "issued")]
    assert (file["rows_read"], file["rows_accepted"]) == (6, 4)
    assert (file["rows_unmapped"], file["rows_anonymous"]) == (1, 1)
    assert report.counts["rows_unmapped"] == 1


def test_too_many_unmapped_rows_refuse_the_run(tmp_path: Path) -> None:
    """A mapping that does not fit the files must not award the few it knows."""
    with brand(tmp_path) as shop:
        shop.define(mapped_definition())
        (shop.folder / "who").mkdir()
        shop.write(**{"who/all": who(f"101,{ANN},,,")}, may=bills(ANN, ANN, BOB))
        with pytest.raises(FilesRefused) as refused:
            shop.run()
        assert len(shop.sandbox.earns()) == 0
    (fault,) = refused.value.faults
    assert (fault.code, fault.file) == ("too_many_unmapped", "may.csv")


def test_a_survivor_is_not_issued_again_what_the_merged_one_had(tmp_path: Path) -> None:
    """Merged after the award: it is in the ledger, and the surplus is held back.

    | customer | before                  | merged into 101          |
    |----------|-------------------------|--------------------------|
    | 101      | 2 visits: awarded once  | 5 visits: two awards due |
    | 102      | 3 visits: awarded once  | —                        |

    Both awards stand for the survivor's two; a third visit pair is surplus.
    """
    with brand(tmp_path) as shop:
        text = mapped_definition(more="repeat = true\n").replace('"*.csv"', '"may.csv"')
        shop.define(text)
        (shop.folder / "who").mkdir()
        shop.write(
            **{"who/all": who(f"101,{ANN},,,", f"102,{BOB},,,")},
            may=bills(ANN, ANN, BOB, BOB, BOB),
        )
        shop.run()
        assert [one[0] for one in awards(shop)] == [101, 102]
        shop.write(**{"who/all": who(f"101,{ANN},,,", f"102,{BOB},101,,")})
        second = shop.run()
        assert second.counts["awards_in_ledger"] == 2
        assert second.counts["awards_planned"] == 0
        shop.write(may=bills(ANN, ANN, BOB, BOB, BOB, ANN))
        third = shop.run()
        query = "SELECT held_back, in_ledger, planned FROM run_badges WHERE run_id = "
        results = shop.ask(f"{query}'{third.run_id}'").row(0)
        drifted = shop.ask("SELECT DISTINCT kind FROM drift")["kind"].to_list()
        issued = len(shop.sandbox.earns())
        told = explained(shop, f"mobile:{BOB}")
    assert [one["customer_id"] for one in told["awards"]] == [101, 102]
    assert [one["result"] for one in told["qualifications"]] == [
        *("in_ledger", "in_ledger", "held_back")
    ]
    assert told["notes"][0] == (
        "what customer 102 was awarded before the merge is among this"
    )
    assert third.is_balanced
    assert results == (1, 2, 0)
    assert "merged" in drifted
    assert issued == 2


def test_a_merge_may_reach_further_than_one_run(tmp_path: Path) -> None:
    """A merged customer who alone had the award keeps the survivor from another."""
    with brand(tmp_path) as shop:
        shop.define(mapped_definition().replace('"*.csv"', '"may.csv"'))
        (shop.folder / "who").mkdir()
        shop.write(
            **{"who/all": who(f"101,{ANN},,,", f"102,{BOB},,,", f"103,{CAT},,,")},
            may=bills(BOB, BOB),
        )
        shop.run()
        rows = (f"101,{ANN},103,,", f"102,{BOB},101,,", f"103,{CAT},,,")
        shop.write(**{"who/all": who(*rows)}, may=bills(BOB, BOB, ANN, CAT, CAT))
        report = shop.run()
        assert report.counts["awards_planned"] == 0
        assert awards(shop) == [(102, BOB, "issued")]


def test_what_a_merged_customer_held_is_the_survivors(tmp_path: Path) -> None:
    """The brand's list of earned badges may name customers as they were."""
    with brand(tmp_path) as shop:
        held = '[held]\nfiles = ["had.txt"]\ncolumns = { badge_meta_id = "b", '
        held += 'customer_id = "c", earn_event_date = "d" }\n'
        shop.define(mapped_definition(more=held).replace('"*.csv"', '"may.csv"'))
        (shop.folder / "who").mkdir()
        (shop.folder / "had.txt").write_text(f"b,c,d\n{BADGE},102,2017-05-02\n")
        shop.write(
            **{"who/all": who(f"101,{ANN},,,", f"102,{BOB},101,,")}, may=bills(ANN, BOB)
        )
        shop.run()
        assert shop.statuses() == {"already_earned": 1}


def test_apply_refuses_a_plan_whose_customer_files_changed(tmp_path: Path) -> None:
    """The plan is made for what the customer files and lists said, and names them."""
    with brand(tmp_path) as shop:
        customers = CUSTOMERS + 'exclude = ["list.csv"]\n'
        text = mapped_definition(customers=customers).replace('"*.csv"', '"may.csv"')
        shop.define(text)
        (shop.folder / "who").mkdir()
        rows = who(f"101,{ANN},,,", f"102,{BOB},,,")
        shop.write(**{"who/all": rows}, list="id\n102\n", may=bills(ANN, ANN))
        plan, _ = asyncio.run(plan_badges(shop.work()))
        again, _ = asyncio.run(plan_badges(shop.work()))
        shop.write(**{"who/all": rows + f"103,{CAT},,,\n"})
        other, folder = asyncio.run(plan_badges(shop.work()))
        shop.write(list="id\n102\n103\n")
        refused = shop.command("apply", str(folder), "--yes", "--json")
        shop.write(list="id\n102\n")
        applied = shop.command("apply", str(folder), "--yes", "--json")
    assert plan.digest == again.digest != other.digest
    assert refused.returncode == 1
    (error,) = orjson.loads(refused.stdout)["errors"]
    assert error["code"] == "plan_files_moved"
    assert "customer file list.csv has another content" in error["message"]
    assert applied.returncode == 0, applied.stderr


def test_members_by_the_day_they_enrolled(tmp_path: Path) -> None:
    """`since` counts from the customer's moment, of the survivor's own row.

    | customer | enrolled            | a year later, in New York    |
    |----------|---------------------|------------------------------|
    | 101      | 2015-03-01 04:00 UTC | 2016-02-29 (it was 28 Feb.) |
    | 102      | 2016-05-03 local    | 2017-05-03                   |
    | 103      | not told            | never                        |
    | 104      | in the future       | not yet                      |

    Nobody is dated by the day of the activity.
    """
    with brand(tmp_path) as shop:
        shop.define(EARLY.replace('"*.csv"', '"may.csv"'))
        (shop.folder / "who").mkdir()
        rows = (
            f"101,{ANN},,2015-03-01T04:00:00Z,",
            f"102,{BOB},,2016-05-03,",
            f"103,{CAT},,,",
            f"104,{DAN},,2099-01-01,",
        )
        shop.write(**{"who/all": who(*rows)}, may=bills(ANN, BOB, CAT, DAN, DAN))
        shop.run()
        found = shop.ask("SELECT customer_id, earn_day::VARCHAR, status FROM audit")
    assert found.sort("customer_id").rows() == [
        (101, "2016-02-28", "issued"),
        (102, "2017-05-03", "issued"),
    ]


def test_rules_may_look_at_columns_of_customers(tmp_path: Path) -> None:
    """`where` may compare what the customer files say of a customer."""
    with brand(tmp_path) as shop:
        where = "where = \"customer.tier = 'GOLD' AND amount > 1\"\n"
        text = mapped_definition(more=where).replace('"*.csv"', '"may.csv"')
        shop.define(text)
        (shop.folder / "who").mkdir()
        rows = (f"101,{ANN},,,GOLD", f"102,{BOB},,,BLUE", f"103,{CAT},,,")
        shop.write(**{"who/all": who(*rows)}, may=bills(ANN, BOB, CAT, ANN, BOB, CAT))
        shop.run()
        assert awards(shop) == [(101, ANN, "issued")]


def explained(shop: Brand, customer: int | str, *, online: bool = False) -> dict:  # type: ignore[type-arg]
    """Explain the badge to a customer, in this process."""
    asked = Identifier.read(customer) if isinstance(customer, str) else customer
    assert asked is not None
    answer = explain(shop.work(), "regular", asked, is_online=online)
    return as_json(asyncio.run(answer))


def test_a_customer_is_explained_by_an_identifier(tmp_path: Path) -> None:
    """By the customer files; a merged one is told as the survivor."""
    with brand(tmp_path) as shop:
        more = "[quality]\nmax_rejected_share = 1\nmax_unmapped_share = 1\n"
        text = mapped_definition(more=more).replace('"*.csv"', '"may.csv"')
        shop.define(text)
        (shop.folder / "who").mkdir()
        rows = (f"101,{ANN},,,", f"102,{BOB},101,,", f"103,{CAT},,,", f"104,{CAT},,,")
        shop.write(
            **{"who/all": who(*rows)},
            may=bills(ANN, BOB, CAT, DAN) + f"{ANN},b9,yesterday,1\n",
        )
        told = explained(shop, f"mobile:+91 {ANN}")
        merged = explained(shop, 102)
        refusals = {}
        for number in (CAT, DAN, "12"):
            with pytest.raises(PlanRefused) as refused:
                explained(shop, f"mobile:{number}")
            refusals[number] = str(refused.value)
        with pytest.raises(PlanRefused, match="no email is mapped here"):
            explained(shop, "email:ann@example.com")
    assert (told["customer_id"], told["is_met"]) == (101, True)
    assert [one["row_number"] for one in told["not_accepted"]] == [6]
    assert merged["customer_id"] == 101
    assert merged["notes"][0] == "customer 102 was merged into 101"
    assert "several customers have it" in refusals[CAT]
    assert "no customer file knows it" in refusals[DAN]
    assert "not a mobile number of country 91" in refusals["12"]


def test_the_platform_is_asked_for_whom_no_file_knows(tmp_path: Path) -> None:
    """With --online an identifier is looked up; a merged one gives its survivor."""
    with brand(tmp_path) as shop:
        shop.write(may="who,bill,at,paid\n7,b1,2017-05-01T12:00:00,1\n")
        shop.sandbox.add_customer(7, mobile="919800000001", external_id="x7")
        shop.sandbox.add_customer(8, mobile="919800000002", survivor_id=7)
        own = explained(shop, "external_id:x7", online=True)
        merged = explained(shop, "mobile:+91 98000 00002", online=True)
        with pytest.raises(PlanRefused, match="8015"):
            explained(shop, "mobile:+91 98000 00003", online=True)
    assert (own["customer_id"], merged["customer_id"]) == (7, 7)
    assert "as the survivor of a merge" in merged["notes"][0]


def test_check_tells_of_the_mapping(tmp_path: Path) -> None:
    """The counts of each file, and the identifiers that can't be read."""
    with brand(tmp_path) as shop:
        shop.define(mapped_definition().replace('"*.csv"', '"may.csv"'))
        (shop.folder / "who").mkdir()
        rows = who(f"101,{ANN},,,", "102,none,,,")
        shop.write(**{"who/all": rows}, may=bills(*[ANN] * 20, BOB))
        told = shop.command("check", str(shop.definition))
        found = orjson.loads(
            shop.command("check", str(shop.definition), "--json").stdout
        )
    assert told.returncode == 0, told.stderr
    assert "note: customers: 1 identifiers in who/all.csv" in told.stdout
    (file,) = found["files"]
    assert (file["rows_accepted"], file["rows_unmapped"]) == (20, 1)
    assert "the first is in row 3" in found["notes"][0]


def test_the_command_takes_identifiers(tmp_path: Path) -> None:
    """`explain --customer mobile:…`, in words and as a mistake."""
    with brand(tmp_path) as shop:
        shop.define(EARLY.replace('"*.csv"', '"may.csv"'))
        (shop.folder / "who").mkdir()
        shop.write(**{"who/all": who(f"101,{ANN},,2098-01-01,")}, may=bills(ANN))
        asked = ("explain", str(shop.definition), "--badge", "regular", "--customer")
        told = shop.command(*asked, f"mobile:{ANN}")
        wrong = shop.command(*asked, f"phone:{ANN}")
    assert told.returncode == 0, told.stderr
    assert "customer 101" in told.stdout
    assert "1 year since 2098-01-01 have not passed yet" in told.stdout
    assert "since the customer's enrolled_at" in told.stdout
    assert wrong.returncode == 2
    assert "mobile:…" in wrong.stderr


def test_a_file_that_is_gone_is_mapped_anew(tmp_path: Path) -> None:
    """Kept rows hold the file's own identifiers, so another mapping fits them too."""
    with brand(tmp_path) as shop:
        text = mapped_definition().replace('"*.csv"', '"m*.csv"')
        shop.define(text.replace("[customers]", 'missing_files = "keep"\n[customers]'))
        (shop.folder / "who").mkdir()
        shop.write(
            **{"who/all": who(f"101,{ANN},,,")}, may=bills(ANN), march=bills(ANN, ANN)
        )
        shop.run()
        (shop.folder / "march.csv").unlink()
        shop.write(**{"who/all": who(f"101,{ANN},102,,", f"102,{BOB},,,")})
        report = shop.run()
        assert report.counts["rows_accepted"] == 3
        assert report.counts["awards_in_ledger"] == 1
        assert awards(shop) == [(101, ANN, "issued")]


def test_lines_and_returns_of_mapped_customers(tmp_path: Path) -> None:
    """Lines are one bill and returns find it, whichever number a row names.

    | bill | lines | number             | came back   | counts for |
    |------|-------|--------------------|-------------|------------|
    | b1   | 2     | Ann's, in two ways |             | 101        |
    | b2   | 1     | Ann's other number |             | 101        |
    | b3   | 1     | Bob's              | by r3, whole | nobody    |
    | b4   | 2     | Bob's              |             | 102        |

    Two bills earn the badge, so Ann has it, by the row of her other number.
    """
    lines = """who,bill,at,paid,of
ANN,b1,2017-05-01T12:00:00,1.00,
0ANN,b1,2017-05-01T12:01:00,2.00,
CAT,b2,2017-05-02T12:00:00,3.00,
BOB,b3,2017-05-03T12:00:00,4.00,
BOB,b4,2017-05-04T12:00:00,5.00,
BOB,b4,2017-05-04T12:01:00,6.00,
BOB,r3,2017-05-05T12:00:00,-4.00,b3
"""
    for name, number in (("ANN", ANN), ("BOB", BOB), ("CAT", CAT)):
        lines = lines.replace(name, number)
    with brand(tmp_path) as shop:
        more = '[returns]\nwhere = "amount < 0"\nparent = "parent"\npartial = "keep"\n'
        text = mapped_definition(more=more).replace('"*.csv"', '"may.csv"')
        text = text.replace('amount = "paid"', 'amount = "paid", parent = "of"')
        shop.define(text.replace("[customers]", 'grain = "line_item"\n[customers]'))
        (shop.folder / "who").mkdir()
        rows = (f"101,{ANN},,,", f"102,{BOB},,,", f"101,{CAT},,,")
        shop.write(**{"who/all": who(*rows)}, may=lines)
        report = shop.run()
        assert report.is_balanced
        assert awards(shop) == [(101, CAT, "issued")]


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_a_plan_made_in_parts_is_the_same_plan(tmp_path: Path, rows: int) -> None:
    """Merged customers, drift and earlier awards are found whatever the parts."""
    phones = {customer: phone(customer) for customer in range(1, 31)}
    with brand(tmp_path) as shop:
        text = mapped_definition(more="repeat = true\n").replace('"*.csv"', '"may.csv"')
        shop.define(text)
        (shop.folder / "who").mkdir()
        alone = [f"{customer},{number},,," for customer, number in phones.items()]
        shop.write(**{"who/all": who(*alone)}, may=bills(*[*phones.values()] * 2))
        shop.run()
        # Every third was merged into one who is looked at in another part.
        merged = [
            f"{customer},{number},{'' if customer % 3 else customer - 1},,"
            for customer, number in phones.items()
        ]
        fewer = [*phones.values()][:20]
        shop.write(**{"who/all": who(*merged)}, may=bills(*fewer * 3, *phones.values()))
        whole = asyncio.run(planned_in_parts(shop, None))
        parted = asyncio.run(planned_in_parts(shop, rows))
    assert whole.count(PlanResult.PLANNED) > 5
    assert whole.count(PlanResult.HELD_BACK) > 5
    assert whole.count(PlanResult.IN_LEDGER) > 20
    assert whole.drift.height > 3
    assert parted.results == whole.results
    assert parted.drift.equals(whole.drift)
    assert parted.awards.equals(whole.awards)
    assert parted.figures == whole.figures
    assert parted.refused_by == whole.refused_by
    assert parted.digest == whole.digest


async def planned_in_parts(shop: Brand, rows: int | None) -> Plan:
    """Return a plan against the audit, of so many rows and awards at a time."""
    work = shop.work()
    definition = read_definition(shop.definition)
    now = datetime(2018, 1, 1, tzinfo=UTC)
    read = await read_activity(work, definition, now)
    if rows is not None:
        counting = counting_activity(read.accepted.files, definition, as_of=now)
        found = Qualified(
            parts=qualified(
                *(counting.activity, definition.badges, definition, now),
                rows=counting.rows,
                folder=work.home.accepted,
                rows_a_partition=rows,
                awards_a_part=rows,
            ),
            activity=counting.activity,
            rows_current=counting.rows_current,
            rows_superseded=counting.rows_superseded,
        )
        read = replace(read, found=found)
    (badge,) = definition.badges
    facts = {badge.name: BadgeFacts(badge_meta_id=badge.badge_meta_id)}
    return plan_for(work, definition, read, facts, None)
