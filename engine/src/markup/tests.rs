//! Hostile and broken bodies; what selectors and paths find in sound ones.

use loadr_config::{CssSelector, XPathId};
use scraper::Selector;

use super::*;

fn css(body: &str, selector: &str, attribute: Option<&str>) -> Result<Vec<String>, String> {
    let html = parse_html(body.as_bytes())?;
    let selector = CssSelector {
        selector: Selector::parse(selector).unwrap(),
        is_costly: selector.contains('~'),
    };
    let elements = Elements::select(&html, &selector, false)?;
    Ok(elements.values(attribute).collect())
}

fn xpath(document: &Document, expression: &str) -> Result<Vec<String>, String> {
    let paths = XPaths::new(&[expression.to_owned()]);
    let found = paths.find(XPathId(0), document)?;
    Ok(found.values(document).collect())
}

const PAGE: &str = "<!DOCTYPE html><title>T</title><ul class='a b'><li id=x>One<li>Two <b>bold</b></ul>\
    <form><input name=csrf value='t&amp;k'><input name=q></form><br><P>é";

#[test]
fn selectors_find_elements_as_browsers_do() {
    let found = |selector, attribute| css(PAGE, selector, attribute).unwrap();
    assert_eq!(found("ul.a > li", None), ["One", "Two bold"]);
    assert_eq!(found("li:nth-child(2) b", None), ["bold"]);
    assert_eq!(found("li ~ li", None), ["Two bold"]);
    assert_eq!(found("input[name=csrf]", Some("value")), ["t&k"]);
    assert_eq!(
        found("input", Some("value")),
        ["t&k"],
        "the other one has none"
    );
    assert_eq!(found("p, title", None), ["T", "é"]);
    assert!(found("table", None).is_empty());
}

#[test]
fn xpath_reads_html_and_xml() {
    let html = xml_of_html(&parse_html(PAGE.as_bytes()).unwrap());
    let found = |expression| xpath(&html, expression).unwrap();
    assert_eq!(found("//input[@name='csrf']/@value"), ["t&k"]);
    assert_eq!(found("//ul/li[2]"), ["Two bold"]);
    assert_eq!(found("//li[@id='x']/text()"), ["One"]);
    assert_eq!(found("count(//li)"), ["2"]);
    assert_eq!(found("string(//title)"), ["T"]);
    assert_eq!(found("boolean(//table)"), ["false"]);
    let xml = parse_xml(
        b"<?xml version='1.0'?><o xmlns='u' n='1'><a>1&lt;</a><b><![CDATA[x<y]]></b><a/></o>",
    )
    .unwrap();
    let found = |expression| xpath(&xml, expression).unwrap();
    assert_eq!(found("//*[local-name()='a']"), ["1<", ""]);
    assert_eq!(found("/*/@n"), ["1"]);
    assert_eq!(found("//*[local-name()='b']"), ["x<y"]);
}

#[test]
fn what_is_no_xml_is_told() {
    for body in [
        "",
        "plain",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a b=1/>",
        "{\"a\":1}",
        "<a>&nope;</a>",
    ] {
        let error = parse_xml(body.as_bytes()).unwrap_err();
        assert!(
            error.starts_with("the body is not XML: "),
            "{body}: {error}"
        );
    }
    assert!(
        parse_xml(b"<a>\xff</a>")
            .unwrap_err()
            .contains("not UTF-8: byte 3")
    );
    let large = vec![b' '; MARKUP_BYTES_MAX + 1];
    assert!(parse_xml(&large).unwrap_err().contains("are read up to"));
    assert!(parse_html(&large).unwrap_err().contains("are read up to"));
}

#[test]
fn deep_markup_costs_no_stack() {
    for depth in [2_000, 100_000] {
        let xml = "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert!(parse_xml(xml.as_bytes()).is_err());
        assert!(parse_xml("<a>".repeat(depth).as_bytes()).is_err());
        let html = "<div>".repeat(depth);
        // Past the depth, or past the time.
        assert!(parse_html(html.as_bytes()).is_err());
    }
    let fine = "<div>".repeat(400) + "<p>x";
    assert_eq!(css(&fine, "div p", None).unwrap(), ["x"]);
    let document = xml_of_html(&parse_html(fine.as_bytes()).unwrap());
    assert_eq!(xpath(&document, "//p").unwrap(), ["x"]);
}

#[test]
fn entities_expand_to_little() {
    let mut bomb = "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY e0 'lol'>".to_owned();
    for i in 1..30 {
        let before = format!("&e{};", i - 1).repeat(10);
        bomb += &format!("<!ENTITY e{i} '{before}'>");
    }
    bomb += "]><a>&e29;</a>";
    assert!(parse_xml(bomb.as_bytes()).is_err());
    let looped = b"<!DOCTYPE a [<!ENTITY x '&y;'><!ENTITY y '&x;'>]><a>&x;</a>";
    assert!(parse_xml(looped).is_err());
    let external = b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>";
    let found = parse_xml(external).map(|document| xpath(&document, "string(/a)").unwrap());
    assert!(
        found.is_err() || found == Ok(vec![String::new()]),
        "{found:?}"
    );
}

#[test]
fn an_xpath_that_takes_a_power_of_the_body_ends() {
    let wide = format!("<a>{}</a>", "<b><c/></b>".repeat(5_000));
    let document = parse_xml(wide.as_bytes()).unwrap();
    let error = xpath(&document, "//*[count(//*[count(//*) > 1]) > 1]").unwrap_err();
    assert!(error.contains("budget"), "{error}");
    assert_eq!(xpath(&document, "count(//c)").unwrap(), ["5000"]);
}

#[test]
fn markup_that_is_costly_to_mend_is_given_up_or_read() {
    // Formatting elements that are opened again in each paragraph; misnested blocks; attributes without end.
    let formatting: String = (0..500).map(|i| format!("<b id={i}>")).collect();
    let attributes: String = (0..20_000).map(|i| format!(" a{i}=1")).collect();
    for body in [
        formatting + &"<p>x".repeat(2_000),
        "<a><div></a>".repeat(2_000),
        format!("<a{attributes}>"),
        "<table><tr><td>".repeat(2_000),
    ] {
        if let Err(error) = parse_html(body.as_bytes()) {
            assert!(error.starts_with("the body's HTML "), "{error}");
        }
    }
    let siblings = "<i></i>".repeat(20_000);
    match css(&siblings, "b ~ i", None) {
        Ok(found) => assert!(found.is_empty()),
        Err(error) => assert!(error.contains("too long"), "{error}"),
    }
}
