//! What a shard needs to read responses, each its own so that cores share no cache line: plugin instances, regex
//! caches, scratch memory.

use arrayvec::ArrayVec;
use httparse::Header;
use loadr_config::{CallSite, CallSiteId, PluginId, PluginKind, Program, RegexId};
use loadr_plugin_host::{CallError, Instance, ReadHeaders};
use regex::bytes::{CaptureLocations, Regex};

use super::bodies::Bodies;
use super::rng::Rng;
use crate::clock::now_ns;
use crate::http::HEADERS_AT_HAND;
use crate::instances::Instances;
use crate::metrics::Record;
use crate::plugins::LoadedPlugins;

pub(crate) struct Tools {
    /// The shard's own.
    instances: Instances,
    pub(crate) regexes: Vec<(Regex, CaptureLocations)>,
    pub(crate) rng: Rng,
    /// The response's body as JSON, HTML and XML.
    pub(crate) bodies: Bodies,
    /// A rendered value that something is compared with.
    pub(crate) scratch: Vec<u8>,
    /// What a condition found, for its message.
    pub(crate) seen: Vec<u8>,
    /// Whether it found anything.
    pub(crate) has_seen: bool,
    fields: Vec<Field>,
    header_text: String,
    detail: String,
}

/// What a plugin is asked about.
pub(crate) struct Asked<'r> {
    pub(crate) status: u16,
    pub(crate) headers: &'r [Header<'r>],
    pub(crate) body: &'r [u8],
    /// Known even when the body is not kept.
    pub(crate) body_len: u64,
    pub(crate) duration_ns: u64,
}

impl Tools {
    pub(crate) fn new(program: &Program, instances: Instances, seed: u64) -> Self {
        Self {
            instances,
            regexes: program
                .regexes
                .iter()
                .map(|regex| (regex.clone(), regex.capture_locations()))
                .collect(),
            rng: Rng::new(seed),
            bodies: Bodies::new(program),
            scratch: Vec::new(),
            seen: Vec::new(),
            has_seen: false,
            fields: Vec::new(),
            header_text: String::new(),
            detail: String::new(),
        }
    }

    /// The sentence of the assertion plugin that was called last.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn is_match(&self, regex: RegexId, bytes: &[u8]) -> bool {
        self.regexes[regex.at()].0.is_match(bytes)
    }

    /// Calls the site's extractor; the value goes to `out`.
    pub(crate) fn extract(
        &mut self,
        plugins: &LoadedPlugins,
        own: &mut Instances,
        (id, site): (CallSiteId, &CallSite),
        asked: &Asked<'_>,
        record: &mut Record,
        out: &mut Vec<u8>,
    ) -> Result<bool, CallError> {
        debug_assert_eq!(site.kind, PluginKind::Extractor);
        let reads = plugins.reads(site.plugin);
        let body = if reads.body { asked.body } else { &[] };
        let (fields, text) = (&mut self.fields, &mut self.header_text);
        lower(asked.headers, &reads.headers, fields, text);
        let (mut few, mut many) = (Pairs::new(), Vec::new());
        let headers = pair(fields, asked.headers, text, (&mut few, &mut many));
        let began = now_ns();
        let instance = instance(&mut self.instances, own, site.plugin)?;
        let result = instance.extract(body, headers, plugins.config(id), out);
        record.plugin_call(site.plugin, now_ns() - began, result.is_err());
        result
    }

    /// Calls the site's assertion: pass or fail; its sentence is [`Tools::detail`].
    pub(crate) fn check(
        &mut self,
        plugins: &LoadedPlugins,
        own: &mut Instances,
        (id, site): (CallSiteId, &CallSite),
        asked: &Asked<'_>,
        record: &mut Record,
    ) -> Result<bool, CallError> {
        debug_assert_eq!(site.kind, PluginKind::Assertion);
        let reads = plugins.reads(site.plugin);
        let body = if reads.body { asked.body } else { &[] };
        let (fields, text) = (&mut self.fields, &mut self.header_text);
        lower(asked.headers, &reads.headers, fields, text);
        let (mut few, mut many) = (Pairs::new(), Vec::new());
        let headers = pair(fields, asked.headers, text, (&mut few, &mut many));
        let began = now_ns();
        let instance = instance(&mut self.instances, own, site.plugin)?;
        let result = instance.check(
            asked.status,
            body,
            headers,
            asked.duration_ns as f64 / 1e6,
            plugins.config(id),
            &mut self.detail,
        );
        record.plugin_call(site.plugin, now_ns() - began, result.is_err());
        result
    }
}

/// The instance that a call is for: the virtual user's own, or else the shard's.
fn instance<'i>(
    of_shard: &'i mut Instances,
    of_user: &'i mut Instances,
    plugin: PluginId,
) -> Result<&'i mut Instance, CallError> {
    let of_user = of_user.get_mut(plugin.at()).and_then(Option::as_mut);
    let of_shard = of_shard.get_mut(plugin.at()).and_then(Option::as_mut);
    of_user
        .or(of_shard)
        .ok_or_else(|| CallError::Trap("there is no instance of it".to_owned()))
}

/// A header field as plugins get it: where its name and value lie in the scratch text, or that they are as received.
#[derive(Clone, Copy)]
struct Field {
    index: usize,
    name: Option<(usize, usize)>,
    value: Option<(usize, usize)>,
}

/// Names and values as plugins get them. It takes 4 KiB, so it is filled where it lies and never moved.
type Pairs<'a> = ArrayVec<(&'a str, &'a str), HEADERS_AT_HAND>;

/// Names lower-cased and values made UTF-8, copied only where they are not so already.
fn lower(headers: &[Header<'_>], wanted: &ReadHeaders, fields: &mut Vec<Field>, text: &mut String) {
    text.clear();
    fields.clear();
    for (index, header) in headers.iter().enumerate() {
        if let ReadHeaders::Only(names) = wanted
            && !names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(header.name))
        {
            continue;
        }
        let mut field = Field {
            index,
            name: None,
            value: None,
        };
        if header.name.bytes().any(|b| b.is_ascii_uppercase()) {
            let start = text.len();
            text.extend(header.name.chars().map(|c| c.to_ascii_lowercase()));
            field.name = Some((start, text.len()));
        }
        if std::str::from_utf8(header.value).is_err() {
            let start = text.len();
            text.push_str(&String::from_utf8_lossy(header.value));
            field.value = Some((start, text.len()));
        }
        fields.push(field);
    }
}

/// The fields as plugins get them, in the one or the other: more than there is room for at hand are rare.
fn pair<'p, 'a>(
    fields: &[Field],
    headers: &'a [Header<'a>],
    text: &'a str,
    (few, many): (&'p mut Pairs<'a>, &'p mut Vec<(&'a str, &'a str)>),
) -> &'p [(&'a str, &'a str)] {
    let pairs = fields.iter().map(|field| {
        let header = &headers[field.index];
        let name = field
            .name
            .map_or(header.name, |(start, end)| &text[start..end]);
        let value = match field.value {
            Some((start, end)) => &text[start..end],
            None => std::str::from_utf8(header.value).unwrap_or_default(),
        };
        (name, value)
    });
    if fields.len() <= HEADERS_AT_HAND {
        few.extend(pairs);
        few
    } else {
        many.extend(pairs);
        many
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_get_lower_case_names_and_utf8_values_one_pair_a_line() {
        let headers = [
            Header {
                name: "Set-Cookie",
                value: b"a=1",
            },
            Header {
                name: "x-low",
                value: b"caf\xe9",
            },
            Header {
                name: "Set-Cookie",
                value: "b=é".as_bytes(),
            },
        ];
        let paired = |headers: &[Header<'_>], reads: &ReadHeaders| -> Vec<(String, String)> {
            let (mut fields, mut text) = (Vec::new(), String::from("old"));
            lower(headers, reads, &mut fields, &mut text);
            let (mut few, mut many) = (Pairs::new(), Vec::new());
            let pairs = pair(&fields, headers, &text, (&mut few, &mut many));
            let pairs = pairs.iter();
            pairs
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect()
        };
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            let pairs = pairs.iter();
            pairs
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect()
        };
        let all = [
            ("set-cookie", "a=1"),
            ("x-low", "caf\u{fffd}"),
            ("set-cookie", "b=é"),
        ];
        assert_eq!(paired(&headers, &ReadHeaders::All), owned(&all));
        let only = ReadHeaders::Only(vec!["x-low".to_owned()]);
        assert_eq!(paired(&headers, &only), owned(&all[1..2]));
        let many = [headers[1]; HEADERS_AT_HAND + 1];
        assert_eq!(paired(&many, &only), owned(&[all[1]; HEADERS_AT_HAND + 1]));
    }
}
