//! The tables of what values come from: secrets and data sources.

use super::{Choice, Key, Kind, Status, Table, Union, Variant, key, required, word};

pub(super) static A_SECRET: Kind = Kind::OneKey(&SECRET);
pub(super) static A_SOURCE: Kind = Kind::Union(&SOURCE);

static SECRET: Table = Table {
    what: "a secret",
    groups: &[SECRET_KEYS],
};

const SECRET_KEYS: &[Key] = &[
    key("env", Kind::Name, "The environment variable that holds it"),
    key(
        "file",
        Kind::Name,
        "The file that holds it, without the line break at its end",
    ),
];

static SOURCE: Union = Union {
    what: "a data source",
    tag: "type",
    lenient: true,
    variants: &[
        Variant {
            name: "csv",
            table: &CSV,
            status: Status::Ready,
        },
        Variant {
            name: "json",
            table: &JSON,
            status: Status::Ready,
        },
        Variant {
            name: "inline",
            table: &INLINE,
            status: Status::Ready,
        },
    ],
    forms: &[],
};

static CSV: Table = Table {
    what: "a `csv` source",
    groups: &[
        &[
            PATH,
            key("delimiter", Kind::Text, "What separates cells; `,`"),
            key(
                "has_header",
                Kind::Flag,
                "Whether the first row names the columns; true, else they are `col0`, `col1`, …",
            ),
        ],
        SOURCE_KEYS,
    ],
};

static JSON: Table = Table {
    what: "a `json` source",
    groups: &[&[PATH], SOURCE_KEYS],
};

static INLINE: Table = Table {
    what: "an `inline` source",
    groups: &[
        &[required(
            "rows",
            Kind::Some(&Kind::Object),
            "The rows, each a mapping from columns to values",
        )],
        SOURCE_KEYS,
    ],
};

const PATH: Key = required("path", Kind::Name, "The file, from the plan's folder");

const SOURCE_KEYS: &[Key] = &[
    key(
        "mode",
        Kind::Word(MODES),
        "Whether all virtual users go through the rows together or each through all; shared",
    ),
    key("pick", Kind::Word(PICKS), "Which row is next; sequential"),
    key(
        "on_eof",
        Kind::Word(ENDS),
        "After the last row: the first one again, or the end of the virtual user; recycle",
    ),
];

const MODES: &[Choice] = &[word("shared"), word("per_vu")];
const PICKS: &[Choice] = &[word("sequential"), word("random"), word("shuffle")];
const ENDS: &[Choice] = &[word("recycle"), word("stop")];
