//! JSONPath: from the parser's tree to the Program's, which knows what is singular and has its patterns compiled.

use jsonpath_rust::parser::errors::JsonPathError;
use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, FnArg, JpQuery, Literal, Segment, Selector,
    SingularQuery, SingularQuerySegment, Test, TestFunction,
};
use jsonpath_rust::parser::parse_json_path;

use super::Wrong;
use crate::program::{
    PathFilter, PathOperator, PathQuery, PathSegment, PathSelector, PathValue, RegexId,
};

pub(super) fn parse(path: &str) -> Result<JpQuery, Wrong> {
    if !path.starts_with('$') {
        let help = format!("write `$.{path}`");
        return Err(("it does not begin with `$`".to_owned(), Some(help)));
    }
    parse_json_path(path).map_err(|error| {
        let text = match error {
            JsonPathError::PestError(error) => error.to_string(),
            error => return (error.to_string(), None),
        };
        // The text draws the expression: ` --> 1:5`, and last `= expected selector`.
        let expected = text.rsplit("= ").next().unwrap_or_default();
        let column = text
            .split_once("--> ")
            .and_then(|(_, rest)| rest.split_once(':'))
            .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit))
            .map(String::from_iter)
            .unwrap_or_default();
        // The grammar's own name of the end of the text.
        let expected = expected.replace("EOI", "the end").replace('_', " ");
        (format!("{} at character {column}", expected.trim()), None)
    })
}

/// Makes the Program's tree. An error with an empty message has been reported.
pub(super) struct Lower<'r> {
    pub(super) regex: &'r mut dyn FnMut(&str) -> Option<RegexId>,
}

impl Lower<'_> {
    pub(super) fn query(&mut self, segments: &[Segment]) -> Result<Vec<PathSegment>, Wrong> {
        segments
            .iter()
            .map(|segment| self.segment(segment))
            .collect()
    }

    fn segment(&mut self, segment: &Segment) -> Result<PathSegment, Wrong> {
        let (descends, segment) = match segment {
            Segment::Descendant(inner) => (true, &**inner),
            segment => (false, segment),
        };
        let selectors = match segment {
            Segment::Selector(selector) => vec![self.selector(selector)?],
            Segment::Selectors(selectors) => selectors
                .iter()
                .map(|selector| self.selector(selector))
                .collect::<Result<_, _>>()?,
            Segment::Descendant(_) => return Err(refused("`..` after `..`")),
        };
        Ok(PathSegment {
            descends,
            selectors,
        })
    }

    fn selector(&mut self, selector: &Selector) -> Result<PathSelector, Wrong> {
        Ok(match selector {
            Selector::Name(name) => PathSelector::Name(name.as_str().into()),
            Selector::Wildcard => PathSelector::Wildcard,
            Selector::Index(index) => PathSelector::Index(*index),
            Selector::Slice(start, end, step) => PathSelector::Slice {
                start: *start,
                end: *end,
                step: step.unwrap_or(1),
            },
            Selector::Filter(filter) => PathSelector::Filter(self.filter(filter)?),
        })
    }

    fn filter(&mut self, filter: &Filter) -> Result<PathFilter, Wrong> {
        match filter {
            Filter::Or(filters) => self.filters(filters).map(PathFilter::Or),
            Filter::And(filters) => self.filters(filters).map(PathFilter::And),
            Filter::Atom(FilterAtom::Filter { expr, not }) => Ok(negated(self.filter(expr)?, *not)),
            Filter::Atom(FilterAtom::Test { expr, not }) => Ok(negated(self.test(expr)?, *not)),
            Filter::Atom(FilterAtom::Comparison(comparison)) => self.comparison(comparison),
        }
    }

    fn filters(&mut self, filters: &[Filter]) -> Result<Vec<PathFilter>, Wrong> {
        filters.iter().map(|filter| self.filter(filter)).collect()
    }

    fn test(&mut self, test: &Test) -> Result<PathFilter, Wrong> {
        let function = match test {
            Test::RelQuery(_) | Test::AbsQuery(_) => {
                return self.nodes(test).map(PathFilter::Exists);
            }
            Test::Function(function) => function,
        };
        match &**function {
            TestFunction::Match(value, pattern) => self.matches(value, pattern, true),
            TestFunction::Search(value, pattern) => self.matches(value, pattern, false),
            TestFunction::Custom(name, _) => Err(no_function(name)),
            TestFunction::Length(_) | TestFunction::Value(_) | TestFunction::Count(_) => {
                Err(refused("a number where true or false is needed"))
            }
        }
    }

    fn matches(
        &mut self,
        value: &FnArg,
        pattern: &FnArg,
        whole: bool,
    ) -> Result<PathFilter, Wrong> {
        let FnArg::Literal(Literal::String(pattern)) = pattern else {
            let (message, _) = refused("a pattern that is not a text");
            let help = "patterns are compiled before the run: write it in quotes".to_owned();
            return Err((message, Some(help)));
        };
        let value = self.argument(value)?;
        let pattern = i_regexp(pattern, whole);
        // That it is no pattern has been reported.
        let regex = (self.regex)(&pattern).ok_or((String::new(), None))?;
        Ok(PathFilter::Matches { value, regex })
    }

    fn comparison(&mut self, comparison: &Comparison) -> Result<PathFilter, Wrong> {
        let operator = match comparison {
            Comparison::Eq(..) => PathOperator::Equal,
            Comparison::Ne(..) => PathOperator::NotEqual,
            Comparison::Gt(..) => PathOperator::Greater,
            Comparison::Gte(..) => PathOperator::GreaterOrEqual,
            Comparison::Lt(..) => PathOperator::Less,
            Comparison::Lte(..) => PathOperator::LessOrEqual,
        };
        let (left, right) = comparison.vals();
        Ok(PathFilter::Compare {
            left: self.comparable(left)?,
            operator,
            right: self.comparable(right)?,
        })
    }

    fn comparable(&mut self, comparable: &Comparable) -> Result<PathValue, Wrong> {
        match comparable {
            Comparable::Literal(value) => Ok(literal(value)),
            Comparable::Function(function) => self.function(function),
            Comparable::SingularQuery(query) => {
                let (from_root, segments) = match query {
                    SingularQuery::Current(segments) => (false, segments),
                    SingularQuery::Root(segments) => (true, segments),
                };
                let segments = segments.iter().map(|segment| PathSegment {
                    descends: false,
                    selectors: vec![match segment {
                        SingularQuerySegment::Index(index) => PathSelector::Index(*index),
                        SingularQuerySegment::Name(name) => {
                            PathSelector::Name(name.as_str().into())
                        }
                    }],
                });
                Ok(PathValue::Query(PathQuery {
                    from_root,
                    segments: segments.collect(),
                }))
            }
        }
    }

    fn function(&mut self, function: &TestFunction) -> Result<PathValue, Wrong> {
        match function {
            TestFunction::Length(argument) => {
                Ok(PathValue::Length(Box::new(self.argument(argument)?)))
            }
            TestFunction::Value(FnArg::Test(test)) => self.nodes(test).map(PathValue::Query),
            TestFunction::Count(FnArg::Test(test)) => self.nodes(test).map(PathValue::Count),
            TestFunction::Value(_) | TestFunction::Count(_) => {
                Err(refused("a function's argument that is not a query"))
            }
            TestFunction::Match(..) | TestFunction::Search(..) => {
                Err(refused("a comparison with true or false"))
            }
            TestFunction::Custom(name, _) => Err(no_function(name)),
        }
    }

    /// An argument that is a value.
    fn argument(&mut self, argument: &FnArg) -> Result<PathValue, Wrong> {
        let test = match argument {
            FnArg::Literal(value) => return Ok(literal(value)),
            FnArg::Filter(_) => return Err(refused("a function's argument that is a condition")),
            FnArg::Test(test) => test,
        };
        if let Test::Function(function) = &**test {
            return self.function(function);
        }
        let query = self.nodes(test)?;
        let is_singular = query.segments.iter().all(|segment| {
            !segment.descends
                && matches!(
                    segment.selectors.as_slice(),
                    [PathSelector::Name(_) | PathSelector::Index(_)]
                )
        });
        if is_singular {
            Ok(PathValue::Query(query))
        } else {
            let (message, _) = refused("a function's argument that may find several nodes");
            Err((message, Some("`count()` counts them".to_owned())))
        }
    }

    fn nodes(&mut self, test: &Test) -> Result<PathQuery, Wrong> {
        let (from_root, segments) = match test {
            Test::RelQuery(segments) => (false, segments),
            Test::AbsQuery(query) => (true, &query.segments),
            Test::Function(_) => return Err(refused("a function where a query is needed")),
        };
        Ok(PathQuery {
            from_root,
            segments: self.query(segments)?,
        })
    }
}

fn negated(filter: PathFilter, not: bool) -> PathFilter {
    if not {
        PathFilter::Not(Box::new(filter))
    } else {
        filter
    }
}

fn literal(literal: &Literal) -> PathValue {
    match literal {
        #[allow(
            clippy::cast_precision_loss,
            reason = "RFC 9535 has 53 bits of integers"
        )]
        Literal::Int(number) => PathValue::Number(*number as f64),
        Literal::Float(number) => PathValue::Number(*number),
        Literal::String(text) => PathValue::Text(text.as_str().into()),
        Literal::Bool(flag) => PathValue::Bool(*flag),
        Literal::Null => PathValue::Null,
    }
}

fn refused(what: &str) -> Wrong {
    (format!("it has {what}"), None)
}

fn no_function(name: &str) -> Wrong {
    (
        format!("there is no function `{name}()`"),
        Some("there are `length`, `count`, `value`, `match` and `search`".to_owned()),
    )
}

/// An I-Regexp (RFC 9485) as a pattern of the regex crate: `.` is anything but a line's end, which is also `\r`.
fn i_regexp(pattern: &str, whole: bool) -> String {
    let mut out = String::from(if whole { r"\A(?:" } else { "(?:" });
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            '.' if !in_class => out.push_str(r"[^\n\r]"),
            _ => {
                in_class = c == '[' || in_class && c != ']';
                out.push(c);
            }
        }
    }
    out.push_str(if whole { r")\z" } else { ")" });
    out
}
