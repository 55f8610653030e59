//! What metrics and tags are called: names of Prometheus have `[a-zA-Z_:][a-zA-Z0-9_:]*` and their unit at the end.

use loadr_engine::METRICS;

use crate::second::Key;

/// What each name begins with.
const PREFIX: &str = "loadr_";

/// A metric's name, without what its kind adds.
pub(super) fn base(metric: &str) -> String {
    let is_bytes = METRICS.iter().any(|m| m.name == metric && m.is_bytes);
    format!("{PREFIX}{metric}{}", if is_bytes { "_bytes" } else { "" })
}

/// A series' labels, sorted by name; each name once.
pub(super) fn labels(key: &Key) -> Vec<(String, &str)> {
    let mut labels: Vec<(String, &str)> = Vec::with_capacity(key.tags.len());
    for (name, value) in &key.tags {
        let mut name = label(name);
        // Two tags can come to one name.
        while labels.iter().any(|(taken, _)| *taken == name) {
            name.push('_');
        }
        labels.push((name, value));
    }
    labels.sort();
    labels
}

fn label(tag: &str) -> String {
    let mut name: String = tag
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let is_taken = name == "le" || name == "quantile" || name.starts_with("__");
    if is_taken || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        name.insert_str(0, "tag_");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::second::tests::key;

    #[test]
    fn label_names_are_those_of_prometheus_and_stay_apart() {
        let key = key(
            0,
            "http_reqs",
            &[
                ("a-b", "1"),
                ("a_b", "2"),
                ("le", "3"),
                ("9", "4"),
                ("__name__", "5"),
                ("é", "6"),
                ("", "7"),
            ],
        );
        let labels: Vec<String> = labels(&key)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            labels,
            [
                "_=6",
                "a_b=1",
                "a_b_=2",
                "tag_=7",
                "tag_9=4",
                "tag___name__=5",
                "tag_le=3"
            ]
        );
    }

    #[test]
    fn names_say_their_unit() {
        assert_eq!(base("data_sent"), "loadr_data_sent_bytes");
        assert_eq!(base("http_reqs"), "loadr_http_reqs");
    }
}
