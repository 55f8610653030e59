//! HTML and XML bodies: parsed by libraries, which hold up against nobody's wish to waste their time, so what they are
//! given and how long they may take is bounded here.

mod html;
mod xml;

pub(crate) use html::{Elements, parse as parse_html};
pub(crate) use xml::{Document, Found, XPaths, parse_xml, xml_of_html};

/// The largest HTML or XML body that is parsed, in bytes.
pub(crate) const MARKUP_BYTES_MAX: usize = 8 << 20;
/// The deepest that elements may be nested: browsers stop there too.
pub(crate) const MARKUP_DEPTH_MAX: usize = 512;

/// The body as the text that parsers want.
fn text_of(body: &[u8]) -> Result<&str, String> {
    if body.len() > MARKUP_BYTES_MAX {
        return Err(format!(
            "the body has {} bytes; HTML and XML are read up to {MARKUP_BYTES_MAX}",
            body.len()
        ));
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    std::str::from_utf8(body).map_err(|error| {
        format!(
            "the body is not UTF-8: byte {} is none",
            error.valid_up_to()
        )
    })
}

#[cfg(test)]
mod tests;
