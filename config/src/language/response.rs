//! The tables of what is done with a response: extractors and conditions.

use super::chain::CHAIN;
use super::plan::{NO_SCRIPT, POSITIVE};
use super::{Choice, Key, Kind, Status, Table, Union, Variant, key, required, word};

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
            table: &EXTRACT_JSONPATH,
            status: Status::Ready,
        },
        Variant {
            name: "xpath",
            table: &EXTRACT_XPATH,
            status: Status::Ready,
        },
        Variant {
            name: "css",
            table: &EXTRACT_CSS,
            status: Status::Ready,
        },
    ],
    forms: &[key(
        "chain",
        Kind::Table(&CHAIN),
        "The variable of a chain: one source, transforms, a check",
    )],
};

const EXTRACT_KEYS: &[Key] = &[
    required("name", Kind::Name, "The variable that the value goes to"),
    key("default", Kind::Text, "The value when nothing matched"),
];

pub(super) const INDEX: Key = key("index", Kind::Word(INDICES), "Which match; first");
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

static EXTRACT_JSONPATH: Table = Table {
    what: "a `jsonpath` extractor",
    groups: &[
        EXTRACT_KEYS,
        &[
            required("expression", Kind::Name, "A JSONPath (RFC 9535)"),
            INDEX,
        ],
    ],
};

static EXTRACT_XPATH: Table = Table {
    what: "an `xpath` extractor",
    groups: &[
        EXTRACT_KEYS,
        &[
            required("expression", Kind::Name, "An XPath 1.0 expression"),
            INDEX,
        ],
    ],
};

static EXTRACT_CSS: Table = Table {
    what: "a `css` extractor",
    groups: &[
        EXTRACT_KEYS,
        &[
            required("expression", Kind::Name, "A CSS selector"),
            key(
                "attribute",
                Kind::Name,
                "The attribute that holds the value; the element's text when absent",
            ),
            INDEX,
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
            table: &CONDITION_JSONPATH,
            status: Status::Ready,
        },
        Variant {
            name: "xpath",
            table: &CONDITION_XPATH,
            status: Status::Ready,
        },
        Variant {
            name: "duration",
            table: &DURATION,
            status: Status::Ready,
        },
        Variant {
            name: "size",
            table: &SIZE,
            status: Status::Ready,
        },
        Variant {
            name: "header",
            table: &HEADER,
            status: Status::Ready,
        },
        Variant {
            name: "js",
            table: &CONDITION_JS,
            status: Status::NotYet(NO_SCRIPT),
        },
    ],
    forms: &[],
};

const CONDITION_KEYS: &[Key] = &[
    key(
        "name",
        Kind::Template,
        "What it is called in results; a description when absent",
    ),
    ON_FAILURE,
];

pub(super) const ON_FAILURE: Key = key(
    "on_failure",
    Kind::Word(FAILURE_ACTIONS),
    "What else happens; continue",
);

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

const EQUALS: Key = key("equals", Kind::Template, "What the first match must be");
const EXISTS: Key = key("exists", Kind::Flag, "Whether it must be there; true");
/// No response is larger.
const BYTES: Kind = Kind::Size(0, u64::MAX);

static CONDITION_JSONPATH: Table = Table {
    what: "a `jsonpath` condition",
    groups: &[
        CONDITION_KEYS,
        &[
            required("expression", Kind::Name, "A JSONPath (RFC 9535)"),
            EQUALS,
            EXISTS,
        ],
    ],
};

static CONDITION_XPATH: Table = Table {
    what: "an `xpath` condition",
    groups: &[
        CONDITION_KEYS,
        &[
            required("expression", Kind::Name, "An XPath 1.0 expression"),
            EQUALS,
            EXISTS,
        ],
    ],
};

static DURATION: Table = Table {
    what: "a `duration` condition",
    groups: &[
        CONDITION_KEYS,
        &[required(
            "max",
            POSITIVE,
            "The longest that the request may have taken",
        )],
    ],
};

static SIZE: Table = Table {
    what: "a `size` condition",
    groups: &[
        CONDITION_KEYS,
        &[
            key("min", BYTES, "The fewest bytes of the body"),
            key("max", BYTES, "The most bytes of the body"),
            key("equals", BYTES, "The body's bytes"),
        ],
    ],
};

static HEADER: Table = Table {
    what: "a `header` condition",
    groups: &[
        CONDITION_KEYS,
        &[
            required("header", Kind::Name, "The header's name"),
            key("equals", Kind::Template, "What its value must be"),
            key("contains", Kind::Template, "What its value must contain"),
            EXISTS,
        ],
    ],
};

static CONDITION_JS: Table = Table {
    what: "a `js` condition",
    groups: &[
        CONDITION_KEYS,
        &[key("expression", Kind::Any, "The script")],
    ],
};

/// An `assert` or `checks` item.
pub(super) static A_ASSERT: Kind = Kind::Union(&ASSERT);
/// An `extract` item.
pub(super) static A_EXTRACT: Kind = Kind::Union(&EXTRACT);
