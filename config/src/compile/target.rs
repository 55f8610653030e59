//! Where a request goes: a URL becomes an origin, known before the run, and a request target in origin-form (RFC 9112
//! section 3.2.1), which may have holes.

use super::Compiler;
use super::builder::{Builder, Fragment};
use crate::diagnostic::shown;
use crate::plan::{Pair, Text};
use crate::program::{Escape, Origin, OriginId};
use crate::url::{Authority, authority, check_scheme, scheme};

/// `defaults.http.base_url`, folded.
pub(super) enum Base {
    Absent,
    /// Reported already.
    Bad,
    Url {
        authority: Authority,
        /// As written, from its `/`; may be empty.
        path: String,
    },
}

/// A URL taken apart.
struct Target {
    authority: Authority,
    /// Path and query, from the `/`.
    rest: Vec<Fragment>,
}

impl Compiler<'_> {
    /// Folds the base URL for the scenario at hand.
    pub(super) fn base(&mut self) -> Base {
        let Some(text) = &self.plan.base_url else {
            return Base::Absent;
        };
        let Some(url) = self.constant_text(text, "the base URL") else {
            return Base::Bad;
        };
        match base(&url) {
            Ok((authority, path)) => Base::Url { authority, path },
            Err((message, help)) => {
                self.report.error(&text.at, message, help);
                Base::Bad
            }
        }
    }

    /// Writes the request target into `head` and says where the request goes.
    pub(super) fn target(
        &mut self,
        url: &Text,
        params: &[Pair],
        base: &Base,
        head: &mut Builder,
    ) -> Option<OriginId> {
        let fragments = self.fold(url);
        let params = self.fold_pairs(params);
        let mut target = match split(fragments?, base) {
            Ok(target) => target?,
            Err((message, help)) => {
                self.report.error(&url.at, message, help);
                return None;
            }
        };
        if cut_fragment(&mut target.rest) {
            let message = "the part of a URL from `#` on is never sent".to_owned();
            self.report.warning(
                &url.at,
                message,
                Some("write `%23` for a literal `#`".to_owned()),
            );
        }
        let has_query = target
            .rest
            .iter()
            .any(|fragment| matches!(fragment, Fragment::Text(text) if text.contains('?')));
        head.fragments(&target.rest, Escape::Url);
        query(&params, if has_query { b"&" } else { b"?" }, head);
        self.origin(target.authority, url)
    }

    fn origin(&mut self, authority: Authority, url: &Text) -> Option<OriginId> {
        if let Some(id) = self.origin_ids.get(&authority) {
            return Some(*id);
        }
        let id = OriginId(super::index(self.origins.len())?);
        self.origins.push(Origin {
            tls: authority.tls,
            host: authority.host.clone(),
            port: authority.port,
            authority: authority.text.clone(),
            location: url.at.location(),
        });
        self.origin_ids.insert(authority, id);
        Some(id)
    }
}

/// Names and values joined as a query or form wants them.
pub(super) fn query(pairs: &[(Vec<Fragment>, Vec<Fragment>)], before: &[u8], out: &mut Builder) {
    for (i, (name, value)) in pairs.iter().enumerate() {
        out.bytes(if i == 0 { before } else { b"&" });
        out.fragments(name, Escape::Component);
        out.bytes(b"=");
        out.fragments(value, Escape::Component);
    }
}

type Wrong = crate::url::Wrong;

fn base(url: &str) -> Result<(Authority, String), Wrong> {
    check_text(url)?;
    let Some((scheme, rest)) = scheme(url) else {
        let host = match url.trim_start_matches('/') {
            "" => "HOST",
            host => host,
        };
        let help = format!("write `http://{}`", shown(host));
        return Err((
            format!(
                "the base URL `{}` does not begin with `http://`",
                shown(url)
            ),
            Some(help),
        ));
    };
    let tls = check_scheme(scheme)?;
    if rest.contains(['?', '#']) {
        let help = "put them into `url` or `params`".to_owned();
        return Err((
            "the base URL cannot have a query or a fragment".to_owned(),
            Some(help),
        ));
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Ok((authority(host, tls)?, path.to_owned()))
}

/// `Ok(None)`: relative to a base that is wrong itself.
fn split(mut fragments: Vec<Fragment>, base: &Base) -> Result<Option<Target>, Wrong> {
    for fragment in &fragments {
        if let Fragment::Text(text) = fragment {
            check_text(text)?;
        }
    }
    let first = match fragments.first_mut() {
        None => String::new(),
        Some(Fragment::Text(text)) => std::mem::take(text),
        Some(Fragment::Value(_)) => {
            let message = "the URL begins with what is known only in the run".to_owned();
            let help =
                "begin with `/` or `http://`: where a request goes must be known before the run";
            return Err((message, Some(help.to_owned())));
        }
        Some(Fragment::Secret(_)) => return Err(secret_host()),
    };
    if first.starts_with(' ') {
        return Err(("the URL begins with a space".to_owned(), None));
    }
    let open_ended = fragments.len() > 1;
    if let Some((scheme, rest)) = scheme(&first) {
        let tls = check_scheme(scheme)?;
        let end = rest.find(['/', '?', '#']);
        if end.is_none() && matches!(fragments.get(1), Some(Fragment::Secret(_))) {
            return Err(secret_host());
        }
        if end.is_none() && open_ended {
            let message = "the URL's host depends on what is known only in the run".to_owned();
            let help = "write the host out, or as `${env.NAME}` or `${vars.name}`; end it with `/`";
            return Err((message, Some(help.to_owned())));
        }
        let (host, path) = rest.split_at(end.unwrap_or(rest.len()));
        let authority = authority(host, tls)?;
        return Ok(Some(target(authority, "", path, fragments)));
    }
    check_relative(&first, open_ended)?;
    match base {
        Base::Bad => Ok(None),
        Base::Absent => {
            let message = format!(
                "the URL `{}` is relative, and there is no base URL",
                shown(&first)
            );
            let help = "write `http://…`, set `defaults.http.base_url`, or pass `--base-url`";
            Err((message, Some(help.to_owned())))
        }
        Base::Url { authority, path } => {
            Ok(Some(target(authority.clone(), path, &first, fragments)))
        }
    }
}

/// Where a request goes is in results and messages.
fn secret_host() -> Wrong {
    let message = "the URL's host cannot be a secret: it is shown".to_owned();
    let help = "write it out, or as `${env.NAME}`; a secret can stand in the path, the query, headers and the body";
    (message, Some(help.to_owned()))
}

/// Puts the path's start in the place of the first fragment.
fn target(authority: Authority, base: &str, first: &str, mut fragments: Vec<Fragment>) -> Target {
    let mut path = if first.is_empty() || first.starts_with(['?', '#']) {
        format!("{base}{first}")
    } else {
        format!(
            "{}/{}",
            base.trim_end_matches('/'),
            first.strip_prefix('/').unwrap_or(first)
        )
    };
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    match fragments.first_mut() {
        Some(slot) => *slot = Fragment::Text(path),
        None => fragments.push(Fragment::Text(path)),
    }
    Target {
        authority,
        rest: fragments,
    }
}

fn check_text(text: &str) -> Result<(), Wrong> {
    if let Some(bad) = text.chars().find(char::is_ascii_control) {
        let help = "a `>` or `|` block ends in a line break: write the URL on one line";
        let message = format!(
            "the URL has the control character `{}`",
            bad.escape_default()
        );
        return Err((message, Some(help.to_owned())));
    }
    Ok(())
}

/// What looks relative but was hardly meant so.
fn check_relative(first: &str, open_ended: bool) -> Result<(), Wrong> {
    if first.starts_with("//") {
        let help = format!("write `http:{}`, or one `/` for a path", shown(first));
        return Err(("the URL begins with `//`".to_owned(), Some(help)));
    }
    // RFC 3986 section 4.2: a relative path's first segment has no colon, so that it cannot be taken for a scheme.
    let segment = first.split(['/', '?', '#']).next().unwrap_or_default();
    if segment.contains(':') {
        let message = format!(
            "the URL `{}` has no `http://` and does not begin with `/`",
            shown(first)
        );
        let help = if open_ended {
            "write `http://` before the host, or begin the path with `/`".to_owned()
        } else {
            format!(
                "write `http://{0}`, or `/{0}` when it is a path",
                shown(first)
            )
        };
        return Err((message, Some(help)));
    }
    Ok(())
}

/// Drops the URL's fragment; true when there was one.
fn cut_fragment(fragments: &mut Vec<Fragment>) -> bool {
    let at = fragments
        .iter()
        .position(|f| matches!(f, Fragment::Text(text) if text.contains('#')));
    let Some(at) = at else { return false };
    fragments.truncate(at + 1);
    if let Some(Fragment::Text(text)) = fragments.last_mut() {
        text.truncate(text.find('#').unwrap_or(text.len()));
    }
    true
}
