//! One `request` step.

use std::time::Duration;

use super::builder::Builder;
use super::flow::Context;
use super::head::{Content, Headers, finish, overlay};
use super::target::Base;
use super::{Compiler, MAX_REDIRECTS, REQUEST_TIMEOUT};
use crate::diagnostic::shown;
use crate::escape::is_token;
use crate::node::At;
use crate::plan::{Body, Pair, Request as PlanRequest, Text};
use crate::program::{Condition, Http, Request};

/// What holds for every request of a scenario.
pub(super) struct Defaults {
    base: Base,
    headers: Headers,
    timeout: Duration,
}

/// The longest method.
const MAX_METHOD: usize = 32;

impl<'a> Compiler<'a> {
    /// `defaults`, with the placeholders that stand for something else in each scenario.
    pub(super) fn defaults(&mut self) -> Defaults {
        let plan = self.plan;
        Defaults {
            base: self.base(),
            headers: self.headers(&plan.headers),
            timeout: plan.timeout.unwrap_or(REQUEST_TIMEOUT),
        }
    }

    pub(super) fn request(
        &mut self,
        context: &Context<'_>,
        request: &'a PlanRequest,
    ) -> Option<Request> {
        let (scenario, defaults) = (context.id, context.defaults);
        // Every part is compiled before the first `?`, so that every error is found.
        let method = self.method(request);
        let name = match &request.name {
            Some(name) => self.name(name),
            None => request.url.as_ref().map(|url| url.text.clone()),
        };
        let mut head = Builder::default();
        head.bytes(method.as_deref().unwrap_or_default().as_bytes());
        head.bytes(b" ");
        let url = request.url.as_ref();
        let origin =
            url.and_then(|url| self.target(url, &request.params, &defaults.base, &mut head));
        let headers = self.own_headers(request, &defaults.headers);
        let body = request.body.as_ref().map(|body| self.body(body));
        let tags = self.tags(&[&self.plan.tags, context.tags, &request.tags]);
        let extracts = self.extracts(&request.extracts);
        let asserts = self.asserts(&request.asserts);
        let checks = self.checks(&request.checks);
        self.spend_headers(&headers, &request.at)?;

        let (method, origin) = (method?, origin?);
        let (body, content_type) = match body {
            None => (None, None),
            Some(body) => body.map(|(template, content_type)| (Some(template), content_type))?,
        };
        let authority = self.origins.get(origin.at())?.authority.clone();
        let expects_content = matches!(method.as_str(), "POST" | "PUT" | "PATCH");
        let plan = &self.plan.http;
        let follows = request.follow_redirects.or(plan.follow_redirects);
        let cookies = plan.cookies.unwrap_or(true);
        let http = Http {
            redirects: match follows {
                Some(false) => 0,
                _ => plan.max_redirects.unwrap_or(MAX_REDIRECTS),
            },
            keeps_cookies: cookies,
            sends_cookies: cookies && !headers.iter().any(|(name, _)| name == "cookie"),
            decodes: plan.compression.unwrap_or(true),
            keep_alive: plan.keep_alive.unwrap_or(true),
            caches: plan.cache,
            traces: plan.tracing && !headers.iter().any(|(name, _)| name == "traceparent"),
        };
        let content = Content {
            body: body.as_ref(),
            content_type,
            expects_content,
        };
        let head = finish(head, &authority, &headers, &content, &http);
        let conditions = || {
            asserts
                .iter()
                .map(|a| &a.condition)
                .chain(checks.iter().map(|c| &c.condition))
        };
        let reads_body = extracts.iter().any(|extract| extract.source.reads_body())
            || conditions().any(Condition::reads_body);
        let measures_body =
            conditions().any(|condition| matches!(condition, Condition::Size { .. }));
        let reads_headers = extracts
            .iter()
            .any(|extract| extract.source.reads_headers())
            || conditions().any(Condition::reads_headers);
        Some(Request {
            name: name?,
            method,
            scenario,
            group: self.group.clone(),
            tags,
            origin,
            head,
            // A body without bytes is no body; `content-length: 0` is in the head.
            body: body.filter(|body| !body.pieces.is_empty()),
            timeout: request.timeout.unwrap_or(defaults.timeout),
            http,
            extracts,
            asserts,
            checks,
            reads_body,
            measures_body,
            reads_headers,
            location: request.at.location(),
        })
    }

    /// The request's headers over the defaults.
    fn own_headers(&mut self, request: &PlanRequest, defaults: &Headers) -> Headers {
        let own = self.headers(&request.headers);
        if !matches!(request.body, Some(Body::Multipart(_))) {
            return overlay(defaults, own);
        }
        // A default knows no boundary, so it cannot be meant for this request.
        let mut defaults = defaults.clone();
        defaults.retain(|(name, _)| name != "content-type");
        let set = |pair: &&Pair| pair.name.text.eq_ignore_ascii_case("content-type");
        if let Some(pair) = request.headers.iter().find(set) {
            let message = "`content-type` is set, so the target is not told the parts' boundary";
            let help = "leave it out: the body sets it".to_owned();
            self.report
                .warning(&pair.name.at, message.to_owned(), Some(help));
        }
        overlay(&defaults, own)
    }

    fn method(&mut self, request: &PlanRequest) -> Option<String> {
        let Some(Text { text, at }) = &request.method else {
            return Some(
                if request.body.is_some() {
                    "POST"
                } else {
                    "GET"
                }
                .to_owned(),
            );
        };
        let method = text.to_ascii_uppercase();
        let (message, help) = if !is_token(&method) || method.len() > MAX_METHOD {
            (
                format!("`{}` is not a method", shown(text)),
                "write one such as `GET` or `POST`",
            )
        } else if method == "CONNECT" {
            let message = "`CONNECT` asks for a tunnel, which is not a request".to_owned();
            (
                message,
                "`OPTIONS` or `HEAD` reach the target without reading anything",
            )
        } else if method == "TRACE" && request.body.is_some() {
            // RFC 9110 section 9.3.8.
            ("`TRACE` cannot have a body".to_owned(), "leave `body` out")
        } else {
            return Some(method);
        };
        self.report.error(at, message, Some(help.to_owned()));
        None
    }

    fn spend_headers(&mut self, headers: &Headers, at: &At) -> Option<()> {
        headers
            .iter()
            .try_for_each(|(_, value)| self.spend_fragments(value, at))
    }
}
