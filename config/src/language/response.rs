//! The tables of what is done with a response: extractors and conditions.

use super::plan::NO_SCRIPT;
use super::{Choice, Key, Kind, Status, Table, Union, Variant, key, not_yet, required, word};

static EXTRACT: Union = Union {
    what: "an extractor",
    tag: "type",
    lenient: false,
    variants: &[
        Variant {
            name: "regex",
            table: &EXTRACT_REGEX,
            status: Status::Ready,
        },
        Variant {
            name: "header",
            table: &EXTRACT_HEADER,
            status: Status::Ready,
        },
        Variant {
            name: "boundary",
            table: &EXTRACT_BOUNDARY,
            status: Status::Ready,
        },
        Variant {
            name: "plugin",
            table: &EXTRACT_PLUGIN,
            status: Status::Ready,
        },
        Variant {
            name: "jsonpath",
            table: &EXTRACT_OTHER,
            status: Status::NotYet(EXTRACTORS),
        },
        Variant {
            name: "xpath",
            table: &EXTRACT_OTHER,
            status: Status::NotYet(EXTRACTORS),
        },
        Variant {
            name: "css",
            table: &EXTRACT_OTHER,
            status: Status::NotYet(EXTRACTORS),
        },
    ],
    forms: &[not_yet(
        "chain",
        EXTRACTORS,
        "A chain of a source, transforms and checks",
    )],
};

const EXTRACTORS: &str = "there are `regex`, `boundary`, `header` and `plugin`";

const EXTRACT_KEYS: &[Key] = &[
    required("name", Kind::Name, "The variable that the value goes to"),
    key("default", Kind::Text, "The value when nothing matched"),
];

const INDEX: Key = key("index", Kind::Word(INDICES), "Which match; first");
const INDICES: &[Choice] = &[word("first"), word("last"), word("random"), word("all")];

static EXTRACT_REGEX: Table = Table {
    what: "a `regex` extractor",
    groups: &[
        EXTRACT_KEYS,
        &[
            required("expression", Kind::Name, "The pattern"),
            key(
                "group",
                Kind::Count(0, 1000),
                "The capture group; 1, and 0 is the whole match",
            ),
            INDEX,
        ],
    ],
};

static EXTRACT_HEADER: Table = Table {
    what: "a `header` extractor",
    groups: &[
        EXTRACT_KEYS,
        &[required("header", Kind::Name, "The header's name"), INDEX],
    ],
};

static EXTRACT_BOUNDARY: Table = Table {
    what: "a `boundary` extractor",
    groups: &[
        EXTRACT_KEYS,
        &[
            required("left", Kind::Name, "What stands before the value"),
            required("right", Kind::Name, "What stands after it"),
            INDEX,
        ],
    ],
};

static EXTRACT_PLUGIN: Table = Table {
    what: "a `plugin` extractor",
    groups: &[
        EXTRACT_KEYS,
        &[
            required("plugin", Kind::Name, "Which of the plan's `plugins`"),
            key("config", Kind::Object, "Laid over the plugin's `config`"),
        ],
    ],
};

static EXTRACT_OTHER: Table = Table {
    what: "an extractor",
    groups: &[
        EXTRACT_KEYS,
        &[
            key("expression", Kind::Any, "What to look for"),
            key("attribute", Kind::Any, "The attribute that holds the value"),
            key("index", Kind::Any, "Which match"),
        ],
    ],
};

static ASSERT: Union = Union {
    what: "a condition",
    tag: "type",
    lenient: false,
    variants: &[
        Variant {
            name: "status",
            table: &STATUS,
            status: Status::Ready,
        },
        Variant {
            name: "body_contains",
            table: &BODY_CONTAINS,
            status: Status::Ready,
        },
        Variant {
            name: "body_matches",
            table: &BODY_MATCHES,
            status: Status::Ready,
        },
        Variant {
            name: "plugin",
            table: &CONDITION_PLUGIN,
            status: Status::Ready,
        },
        Variant {
            name: "jsonpath",
            table: &CONDITION_OTHER,
            status: Status::NotYet(CONDITIONS),
        },
        Variant {
            name: "xpath",
            table: &CONDITION_OTHER,
            status: Status::NotYet(CONDITIONS),
        },
        Variant {
            name: "duration",
            table: &CONDITION_OTHER,
            status: Status::NotYet("set `timeout`, or a threshold on `http_req_duration`"),
        },
        Variant {
            name: "size",
            table: &CONDITION_OTHER,
            status: Status::NotYet(CONDITIONS),
        },
        Variant {
            name: "header",
            table: &CONDITION_OTHER,
            status: Status::NotYet(
                "extract the header with `extract: { type: header }`: a missing one fails the request",
            ),
        },
        Variant {
            name: "js",
            table: &CONDITION_OTHER,
            status: Status::NotYet(NO_SCRIPT),
        },
    ],
    forms: &[],
};

const CONDITIONS: &str = "there are `status`, `body_contains`, `body_matches` and `plugin`";

const CONDITION_KEYS: &[Key] = &[
    key(
        "name",
        Kind::Template,
        "What it is called in results; a description when absent",
    ),
    key(
        "on_failure",
        Kind::Word(FAILURE_ACTIONS),
        "What else happens; continue",
    ),
];

const FAILURE_ACTIONS: &[Choice] = &[
    word("continue"),
    word("abort_iteration"),
    word("abort_scenario"),
    word("abort_test"),
];

const NEGATE: Key = key("negate", Kind::Flag, "Whether it must not be there");
const STATUS_CODE: Kind = Kind::Count(100, 999);

static STATUS: Table = Table {
    what: "a `status` condition",
    groups: &[
        CONDITION_KEYS,
        &[
            key("equals", STATUS_CODE, "The status"),
            key("one_of", Kind::Some(&STATUS_CODE), "The statuses"),
            key(
                "matches",
                Kind::Name,
                "A pattern for the three digits, such as `2..`",
            ),
        ],
    ],
};

static BODY_CONTAINS: Table = Table {
    what: "a `body_contains` condition",
    groups: &[
        CONDITION_KEYS,
        &[
            required("value", Kind::Template, "What is looked for"),
            NEGATE,
        ],
    ],
};

static BODY_MATCHES: Table = Table {
    what: "a `body_matches` condition",
    groups: &[
        CONDITION_KEYS,
        &[required("pattern", Kind::Name, "The pattern"), NEGATE],
    ],
};

static CONDITION_PLUGIN: Table = Table {
    what: "a `plugin` condition",
    groups: &[
        CONDITION_KEYS,
        &[
            required("plugin", Kind::Name, "Which of the plan's `plugins`"),
            key("config", Kind::Object, "Laid over the plugin's `config`"),
        ],
    ],
};

static CONDITION_OTHER: Table = Table {
    what: "a condition",
    groups: &[
        CONDITION_KEYS,
        &[
            key("expression", Kind::Any, "What to look for"),
            key("equals", Kind::Any, "What it must be"),
            key("exists", Kind::Any, "Whether it must be there"),
            key("header", Kind::Any, "The header's name"),
            key("contains", Kind::Any, "What it must contain"),
            key("min", Kind::Any, "The least"),
            key("max", Kind::Any, "The most"),
        ],
    ],
};

/// An `assert` or `checks` item.
pub(super) static A_ASSERT: Kind = Kind::Union(&ASSERT);
/// An `extract` item.
pub(super) static A_EXTRACT: Kind = Kind::Union(&EXTRACT);
