//! What both pages are put together from, that of one run and that of two. Texts that are given as HTML say so; all others are
//! made inert here.

use std::fmt::Write;

use crate::show::markup;

pub(crate) type Written = std::fmt::Result;

/// Lines under a title (HTML), of a kind: `bad` or `note`.
pub(crate) fn news(out: &mut String, kind: &str, title: &str, lines: &[String]) -> Written {
    writeln!(out, "<section class=\"news {kind}\"><h2>{title}</h2><ul>")?;
    for line in lines {
        writeln!(out, "<li>{}</li>", markup(line))?;
    }
    writeln!(out, "</ul></section>")
}

pub(crate) fn chart_help(out: &mut String, points: usize) -> Written {
    if points > 1 {
        writeln!(
            out,
            "<p class=\"hint\">Each point is {points} seconds: means, and of latencies the largest.</p>"
        )?;
    }
    writeln!(
        out,
        "<p class=\"hint\">Point at a chart, or focus it and use the arrow keys: all charts show the same moment.</p>\
         <noscript><p class=\"hint\">Charts are drawn by this page's own script. The tables below have the figures without it.</p></noscript>"
    )
}

/// A place for the script to draw in.
pub(crate) fn chart(out: &mut String, id: &str, title: &str) -> Written {
    writeln!(
        out,
        "<figure class=\"chart\" id=\"chart-{id}\" tabindex=\"0\" role=\"group\" aria-label=\"{title}: chart\">\
         <figcaption>{title}</figcaption><div class=\"legend\"></div><div class=\"plot\"></div></figure>"
    )
}

/// A cell that sorts by its value and not by its text.
pub(crate) fn number(out: &mut String, value: f64, text: &str) -> Written {
    write!(out, "<td class=\"n\" data-v=\"{value}\">{text}</td>")
}

/// A table in a box that scrolls for itself on a phone, up to its first row. The heads (HTML) say whether figures are below.
pub(crate) fn begin_table<'h>(
    out: &mut String,
    (name, id, class): (&str, &str, &str),
    heads: impl IntoIterator<Item = (&'h str, bool)>,
) -> Written {
    let class = if class.is_empty() {
        String::new()
    } else {
        format!(" class=\"{class}\"")
    };
    writeln!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\"><table id=\"{id}\"{class}><thead><tr>"
    )?;
    for (head, is_figure) in heads {
        let class = if is_figure { " class=\"n\"" } else { "" };
        write!(out, "<th scope=\"col\"{class}>{head}</th>")?;
    }
    writeln!(out, "</tr></thead><tbody>")
}

/// What follows its last row.
pub(crate) fn end_table(out: &mut String) -> Written {
    writeln!(out, "</tbody></table></div>")
}

/// A whole table. `rows` are cells of HTML; those from `numbers` on are figures.
pub(crate) fn table(
    out: &mut String,
    name: &str,
    heads: &[&str],
    numbers: usize,
    rows: &[Vec<String>],
) -> Written {
    let heads = heads
        .iter()
        .enumerate()
        .map(|(i, head)| (*head, i >= numbers));
    begin_table(out, (name, &name.to_lowercase(), ""), heads)?;
    for row in rows {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            match i {
                0 => write!(out, "<th scope=\"row\">{cell}</th>")?,
                i if i >= numbers => write!(out, "<td class=\"n\">{cell}</td>")?,
                _ => write!(out, "<td>{cell}</td>")?,
            }
        }
        out.push_str("</tr>\n");
    }
    end_table(out)
}

/// The section of requests up to its first row: a table that can be filtered and sorted; `hint` is HTML.
pub(crate) fn begin_requests<'h>(
    out: &mut String,
    hint: &str,
    heads: impl IntoIterator<Item = (&'h str, bool)>,
) -> Written {
    write!(
        out,
        "<section><h2>Requests</h2>\n{hint}<label class=\"filter\">Filter <input type=\"search\" data-filter=\"requests\"></label>\n"
    )?;
    begin_table(out, ("Requests", "requests", "sortable"), heads)
}

/// What follows its last row.
pub(crate) fn end_requests(out: &mut String) -> Written {
    end_table(out)?;
    writeln!(out, "</section>")
}

/// A word with a mark: never by colour alone.
pub(crate) fn held(passed: bool) -> &'static str {
    if passed {
        "<span class=\"mark good\">✓ held</span>"
    } else {
        "<span class=\"mark bad\">✗ failed</span>"
    }
}

/// Two columns: what it is, and its value as HTML.
pub(crate) fn facts(out: &mut String, facts: &[(&str, String)]) -> Written {
    writeln!(out, "<dl class=\"facts\">")?;
    for (name, value) in facts {
        writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
    }
    writeln!(out, "</dl>")
}
