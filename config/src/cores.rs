//! What a plan or a flag says of the processors to use.

/// What `engine.cores` and `--cores` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreChoice {
    /// So many of the first available ones.
    Count(usize),
    /// Just these.
    List(Vec<usize>),
}

impl std::str::FromStr for CoreChoice {
    type Err = String;

    /// A number is a count; a list has a comma or a range: `2-9,12`, `0-0`, `3,`.
    fn from_str(text: &str) -> Result<Self, String> {
        const WRONG: &str =
            "write a number of cores such as 4, or a list such as 2-9,12 (one core: 3-3)";
        let number = |part: &str| part.trim().parse::<usize>().map_err(|_| WRONG.to_owned());
        if !text.contains([',', '-']) {
            return match number(text)? {
                0 => Err("at least one core is needed".to_owned()),
                n => Ok(Self::Count(n)),
            };
        }
        let mut list = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last - first >= 4096 {
                return Err(format!("the range {part} is not ascending, or too long"));
            }
            list.extend(first..=last);
        }
        if list.is_empty() {
            return Err(WRONG.to_owned());
        }
        let mut sorted = list.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() < list.len() {
            return Err("a core is listed twice".to_owned());
        }
        Ok(Self::List(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_count_and_anything_with_comma_or_dash_a_list() {
        assert_eq!("4".parse(), Ok(CoreChoice::Count(4)));
        assert_eq!("2-4,8".parse(), Ok(CoreChoice::List(vec![2, 3, 4, 8])));
        assert_eq!("3,".parse(), Ok(CoreChoice::List(vec![3])));
        assert_eq!("3-3".parse(), Ok(CoreChoice::List(vec![3])));
        for bad in [
            "",
            "0",
            "x",
            "-",
            "1-",
            "4-2",
            "1,1",
            "0-99999999",
            ",",
            "1.5",
            "99999999999999999999",
        ] {
            assert!(bad.parse::<CoreChoice>().is_err(), "{bad}");
        }
    }
}
