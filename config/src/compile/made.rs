//! Placeholders that make a value: `${uuid}`, `${counter}`, `${now.…}`, `${random.…(…)}`.

use crate::diagnostic::{did_you_mean, shown};
use crate::program::Made;

/// The most digits or letters that one placeholder makes.
const MAX_RANDOM_LEN: u32 = 4096;

/// What is wrong with a placeholder, and what to write.
type Wrong = (String, String);

/// What a placeholder of this text makes; `None` when it is none of these.
pub(super) fn made(slot: &str) -> Option<Result<Made, Wrong>> {
    let (name, arguments) = match slot.split_once('(') {
        Some((name, rest)) => (name.trim(), Some(rest)),
        None => (slot, None),
    };
    let (namespace, member) = match name.split_once('.') {
        Some((namespace, member)) => (namespace, Some(member)),
        None => (name, None),
    };
    if !matches!(namespace, "uuid" | "counter" | "now" | "random") {
        return None;
    }
    let plain = |made| match arguments {
        None => Ok(made),
        Some(_) => Err((
            format!("`${{{}}}` takes nothing in parentheses", shown(slot)),
            format!("write `${{{name}}}`"),
        )),
    };
    Some(match (namespace, member) {
        ("uuid", None) => plain(Made::Uuid),
        ("counter", None) => plain(Made::Counter),
        ("now", Some("unix")) => plain(Made::Unix),
        ("now", Some("unix_ms")) => plain(Made::UnixMs),
        ("now", Some("iso")) => plain(Made::Iso),
        ("random", Some("int")) => int(slot, arguments),
        ("random", Some("hex")) => len(slot, name, arguments).map(Made::Hex),
        ("random", Some("alnum")) => len(slot, name, arguments).map(Made::Alnum),
        _ => Err(unknown(slot, name, namespace)),
    })
}

fn unknown(slot: &str, name: &str, namespace: &str) -> Wrong {
    let names = match namespace {
        "now" => &["now.unix", "now.unix_ms", "now.iso"][..],
        "random" => &["random.int", "random.hex", "random.alnum"],
        "uuid" => &["uuid"],
        _ => &["counter"],
    };
    let forms = match namespace {
        "now" => "`${now.unix}`, `${now.unix_ms}`, `${now.iso}`",
        "random" => "`${random.int(1,100)}`, `${random.hex(16)}`, `${random.alnum(16)}`",
        "uuid" => "`${uuid}`",
        _ => "`${counter}`",
    };
    let help =
        did_you_mean(name, names.iter().copied()).unwrap_or_else(|| format!("there is {forms}"));
    (format!("unknown placeholder `${{{}}}`", shown(slot)), help)
}

/// What stands between the parentheses.
fn inside(arguments: Option<&str>) -> Option<&str> {
    arguments?.trim_end().strip_suffix(')')
}

fn int(slot: &str, arguments: Option<&str>) -> Result<Made, Wrong> {
    let help = "write two whole numbers: `${random.int(1,100)}`".to_owned();
    let wrong = |what: &str| (format!("`${{{}}}` {what}", shown(slot)), help.clone());
    let (least, most) = inside(arguments)
        .and_then(|inside| inside.split_once(','))
        .ok_or_else(|| wrong("needs two numbers in parentheses"))?;
    let number = |text: &str| text.trim().parse::<i64>().ok();
    let (Some(least), Some(most)) = (number(least), number(most)) else {
        return Err(wrong("has something else than two whole numbers"));
    };
    if least > most {
        return Err((
            format!("`${{{}}}` begins above its end", shown(slot)),
            format!("write `${{random.int({most},{least})}}`"),
        ));
    }
    Ok(Made::Int { least, most })
}

fn len(slot: &str, name: &str, arguments: Option<&str>) -> Result<u32, Wrong> {
    let help = format!("write how many: `${{{name}(16)}}`");
    let wrong = |what: String| (format!("`${{{}}}` {what}", shown(slot)), help.clone());
    let inside = inside(arguments)
        .ok_or_else(|| wrong("needs a number in parentheses".to_owned()))?
        .trim();
    match inside.parse::<u32>() {
        Ok(len) if (1..=MAX_RANDOM_LEN).contains(&len) => Ok(len),
        Err(_) if inside.is_empty() || !inside.bytes().all(|b| b.is_ascii_digit()) => {
            Err(wrong("has something else than a whole number".to_owned()))
        }
        _ => Err(wrong(format!(
            "must have a length of 1 to {MAX_RANDOM_LEN}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_read_with_their_arguments() {
        for (slot, expected) in [
            ("uuid", Made::Uuid),
            ("counter", Made::Counter),
            ("now.unix", Made::Unix),
            ("now.unix_ms", Made::UnixMs),
            ("now.iso", Made::Iso),
            ("random.int(-5, 9)", Made::Int { least: -5, most: 9 }),
            ("random.int(7,7)", Made::Int { least: 7, most: 7 }),
            ("random.hex( 8 )", Made::Hex(8)),
            ("random.alnum(4096)", Made::Alnum(4096)),
        ] {
            assert_eq!(made(slot), Some(Ok(expected)), "{slot}");
        }
        for slot in ["vu", "env.uuid", "uuids", "data.now.x", ""] {
            assert_eq!(made(slot), None, "{slot}");
        }
    }

    #[test]
    fn wrong_arguments_are_named_with_what_to_write() {
        for (slot, message, help) in [
            ("uuid()", "takes nothing in parentheses", "write `${uuid}`"),
            ("uuid.v7", "unknown placeholder", "there is `${uuid}`"),
            ("now", "unknown placeholder", "there is `${now.unix}`"),
            ("now.unixms", "unknown placeholder", "`now.unix_ms`"),
            (
                "now.unix(1)",
                "takes nothing in parentheses",
                "`${now.unix}`",
            ),
            (
                "random",
                "unknown placeholder",
                "there is `${random.int(1,100)}`",
            ),
            (
                "random.integer(1)",
                "unknown placeholder",
                "there is `${random.int",
            ),
            (
                "random.itn(1,2)",
                "unknown placeholder",
                "did you mean `random.int`?",
            ),
            (
                "random.int",
                "needs two numbers in parentheses",
                "random.int(1,100)",
            ),
            ("random.int(5)", "needs two numbers in parentheses", ""),
            ("random.int(1,2", "needs two numbers in parentheses", ""),
            (
                "random.int(1,2,3)",
                "something else than two whole numbers",
                "",
            ),
            (
                "random.int(1.5,2)",
                "something else than two whole numbers",
                "",
            ),
            (
                "random.int(0,9223372036854775808)",
                "something else than two whole numbers",
                "",
            ),
            ("random.int(9,1)", "begins above its end", "random.int(1,9)"),
            (
                "random.hex",
                "needs a number in parentheses",
                "random.hex(16)",
            ),
            ("random.hex()", "something else than a whole number", ""),
            ("random.hex(x)", "something else than a whole number", ""),
            ("random.hex(0)", "must have a length of 1 to 4096", ""),
            ("random.alnum(4097)", "must have a length of 1 to 4096", ""),
            (
                "random.alnum(99999999999999999999)",
                "must have a length of 1 to 4096",
                "random.alnum(16)",
            ),
        ] {
            let found = made(slot);
            let Some(Err((said, helped))) = &found else {
                panic!("{slot}: {found:?}");
            };
            assert!(said.contains(message), "{slot}: {said}");
            assert!(helped.contains(help), "{slot}: {helped}");
        }
    }
}
