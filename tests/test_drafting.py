from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from factories_imports import brand

from flows.commands.drafting import drafted, write_draft
from flows.files.finding import read_definition
from transforms.definition.definition import Definition, parse_definition
from transforms.definition.draft import CHANGE
from transforms.errors import DefinitionRefused, FilesRefused, Refused

BADGE = "653de334b3cda7078c7c68eb"


def draft(folder: Path, *files: str) -> str:
    """Return the draft for files that lie in a folder."""
    return drafted([folder / name for name in files], beside=folder)


def completed(text: str, **answers: str) -> Definition:
    """Return the definition, with everything changed that says so."""
    given = {"timezone": "Europe/Berlin", "badge_meta_id": BADGE, "reference_id": "r"}
    lines = []
    for line in text.splitlines():
        key = line.partition(" = ")[0]
        value = {**given, **answers}.get(key, "")
        lines.append(line.replace(CHANGE, value) if value else line)
    return parse_definition("\n".join(lines), path="draft.toml")


def test_a_draft_can_be_completed_and_checked(tmp_path: Path) -> None:
    """Guesses of a plain file hold; what can't be known is refused until it is said."""
    with brand(tmp_path) as shop:
        shop.write(
            bills="customer_id,bill_id,store,purchased_at,amount,items,Hour\n"
            "7,b1,S1,2017-05-01T12:00:00,9.99,3,12\n"
            "8,b2,S2,2017-05-02T12:00:00,-1.00,1,12\n"
        )
        text = draft(shop.folder, "bills.csv")
        with pytest.raises(DefinitionRefused) as refused:
            parse_definition(text, path="draft.toml")
        path = shop.folder / "mine.toml"
        write_draft(
            text.replace(f'timezone = "{CHANGE}"', 'timezone = "Europe/Berlin"')
            .replace(f'badge_meta_id = "{CHANGE}"', f'badge_meta_id = "{BADGE}"')
            .replace(f'reference_id = "{CHANGE}"', 'reference_id = "retro"'),
            path,
        )
        checked = shop.command("check", str(path))

        columns = {fault.column for fault in refused.value.faults}
        assert {"timezone", "badges.first-badge.badge_meta_id"} <= columns
        assert checked.returncode == 0, checked.stderr
        (source,) = read_definition(path).sources
        assert source.columns == {
            "customer_id": "customer_id",
            "activity_id": "bill_id",
            "occurred_at": "purchased_at",
            "amount": "amount",
            "store": "store",
            "items": "items",
            "file_hour": "Hour",  # `hour` is what rules call the local hour
        }


def test_every_guess_says_that_it_is_one(tmp_path: Path) -> None:
    """Each mapped column has a comment above it, with values and what to check."""
    (tmp_path / "a.csv").write_text(
        "user_id,txn_id,date\n7,t1,2017-05-01\n8,t1,2017-05-02\n"
    )
    text = draft(tmp_path, "a.csv")
    lines = text.splitlines()

    for key in ("customer_id", "activity_id", "occurred_at"):
        (at,) = [n for n, line in enumerate(lines) if line.startswith(f"{key} = ")]
        assert lines[at - 1].startswith("# GUESS, by its name; such as")
    assert "REPEATS" in text


@pytest.mark.parametrize(
    ("values", "style"),
    [
        (["03/04/2017 10:00", "05/06/2017 11:00"], None),  # which is the day?
        (["13/04/2017 10:00", "05/06/2017 11:00"], "%d/%m/%Y %H:%M"),
        (["04/13/2017 10:00", "05/06/2017 11:00"], "%m/%d/%Y %H:%M"),
        (["1491300000", "1491300001"], "epoch_seconds"),
        (["1491300000123", "1491300001123"], "epoch_milliseconds"),
        (["20170403", "20170501"], "%Y%m%d"),
        (["2017-04-03T10:00:00Z", "2017-04-03T10:00:00+02:00"], "iso"),
    ],
)
def test_time_formats_are_never_chosen_where_two_fit(tmp_path, values, style):
    """One reading is a guess, two are a question that a person answers."""
    rows = "\n".join(f"{n},{value}" for n, value in enumerate(values, start=1))
    (tmp_path / "a.csv").write_text(f"customer_id,when\n{rows}\n")
    text = draft(tmp_path, "a.csv")

    if style is None:
        assert f'occurred_at_format = "{CHANGE}"' in text
        assert "%d/%m/%Y %H:%M or %m/%d/%Y %H:%M" in text
    else:
        (source,) = completed(text).sources
        assert source.occurred_at_format == style


def test_how_a_file_is_written_is_seen(tmp_path: Path) -> None:
    """Delimiter, encoding, decimal comma, and a day with its time beside it."""
    (tmp_path / "a.csv").write_bytes(
        "Kunden-Nr;Datum;Zeit;Betrag;Ort\n"
        "7;13.04.2017;10:00;9,99;Köln\n"
        "8;14.04.2017;11:30;10;Bonn\n".encode("latin-1")
    )
    text = draft(tmp_path, "a.csv")
    (source,) = completed(text, customer_id="Kunden-Nr").sources

    assert source.format.delimiter == ";"
    assert source.format.encoding == "cp1252"
    assert source.format.decimal == ","
    assert source.columns["occurred_at"] == ("Datum", "Zeit")
    assert source.occurred_at_format == "%d.%m.%Y %H:%M"
    assert f'customer_id = "{CHANGE}"' in text  # no word of ours is in its name
    assert 'kunden_nr = "Kunden-Nr"' in text


def test_a_file_without_header_is_named_by_position(tmp_path: Path) -> None:
    """Numbers in the first row are no names."""
    (tmp_path / "a.csv").write_text("7,2017-05-01T10:00:00\n8,2017-05-02T10:00:00\n")
    text = draft(tmp_path, "a.csv")
    (source,) = completed(text, customer_id="1").sources

    assert source.format.header is False
    assert source.columns["occurred_at"] == "2"


def test_parquet_and_ndjson_have_heads_too(tmp_path: Path) -> None:
    """Their types tell the same as the text of a CSV would."""
    pl.DataFrame({"member_id": [7], "ts": [1491300000], "tags": [["a"]]}).write_parquet(
        tmp_path / "a.parquet"
    )
    (tmp_path / "b.ndjson").write_text('{"member_id": 7, "ts": 1491300000}\n')
    sources = [
        completed(draft(tmp_path, name)).sources[0]
        for name in ("a.parquet", "b.ndjson")
    ]

    for source in sources:
        assert source.columns["customer_id"] == "member_id"
        assert source.occurred_at_format == "epoch_seconds"


def test_values_can_not_break_out_of_a_comment(tmp_path: Path) -> None:
    """A line break in a value or a name does not become TOML."""
    (tmp_path / "a.csv").write_text(
        'customer_id,"when\nowner = 1",order_id\n7,2017-05-01,"x\ntimezone = ""UTC"""\n'
    )
    text = draft(tmp_path, "a.csv")

    assert 'timezone = "UTC"' not in text.splitlines()
    completed(text)


def test_other_columns_of_a_second_file_are_noticed(tmp_path: Path) -> None:
    """Files of another make get a source of their own."""
    (tmp_path / "a.csv").write_text("customer_id,date\n7,2017-05-01\n")
    (tmp_path / "b.csv").write_text("customer_id,day\n7,2017-05-01\n")

    assert "# b.csv lacks date" in draft(tmp_path, "a.csv", "b.csv")


def test_what_can_not_be_drafted_is_refused(tmp_path: Path) -> None:
    """No file, an empty file, and a draft that would overwrite something."""
    (tmp_path / "empty.csv").write_text("")
    for name in ("none.csv", "empty.csv"):
        with pytest.raises(FilesRefused):
            draft(tmp_path, name)
    with pytest.raises(Refused, match="--output"):
        write_draft("", tmp_path / "empty.csv")


def test_the_command_drafts(tmp_path: Path) -> None:
    """To stdout, or into a file whose paths are relative to where it lies."""
    with brand(tmp_path) as shop:
        shop.write(bills="customer_id,date\n7,2017-05-01\n")
        target = tmp_path / "draft.toml"
        said = shop.command("init", str(shop.folder / "bills.csv"))
        done = shop.command(
            "init", str(shop.folder / "bills.csv"), "--output", str(target)
        )

        assert "[activity.columns]" in said.stdout
        assert done.returncode == 0, done.stderr
        assert 'files = ["brand/bills.csv"]' in target.read_text()
