//! The page: HTML with its style and figures inside, no scripts, nothing to fetch.

use std::fmt::Write as _;

use serde_json::Value;

/// How the page looks. Fonts are those of the reader's machine.
const STYLE: &str = "\
body{font:15px/1.5 system-ui,Helvetica,Arial,sans-serif;color:#1a1a1a;background:#fff;\
max-width:1240px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #ddd}\
h3{font-size:1rem;margin:1.4rem 0 .3rem}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}\
.wide{overflow-x:auto}\
th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #eee;white-space:nowrap}\
th.t,td.t{text-align:left}thead th{border-bottom:2px solid #999}\
td.p{white-space:normal;text-align:left}\
code{font-size:12px}svg{max-width:100%;height:auto}\
.bad{border-left:4px solid #c00;padding-left:.8rem}";

/// HTML being written.
#[derive(Debug, Default)]
pub struct Page {
    body: String,
}

/// A text as it must stand in HTML.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

impl Page {
    /// A heading of this level.
    pub fn heading(&mut self, level: u8, text: &str) {
        let _ = writeln!(self.body, "<h{level}>{}</h{level}>", escaped(text));
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escaped(text));
    }

    /// A paragraph that must not be overlooked.
    pub fn warning(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p class=\"bad\">{}</p>", escaped(text));
    }

    /// Lines of a list.
    pub fn list(&mut self, items: &[String]) {
        self.body.push_str("<ul>\n");
        for item in items {
            let _ = writeln!(self.body, "<li>{}</li>", escaped(item));
        }
        self.body.push_str("</ul>\n");
    }

    /// A table whose first `texts` columns are texts and whose others are numbers.
    pub fn table(&mut self, header: &[String], rows: &[Vec<String>], texts: usize) {
        let class = |column: usize| if column < texts { " class=\"t\"" } else { "" };
        self.body
            .push_str("<div class=\"wide\"><table>\n<thead><tr>");
        for (i, name) in header.iter().enumerate() {
            let _ = write!(self.body, "<th{}>{}</th>", class(i), escaped(name));
        }
        self.body.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.body.push_str("<tr>");
            for (i, cell) in row.iter().enumerate() {
                let _ = write!(self.body, "<td{}>{}</td>", class(i), escaped(cell));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</tbody></table></div>\n");
    }

    /// Names with values, which may be long.
    pub fn facts(&mut self, facts: &[(String, String)]) {
        self.body.push_str("<table><tbody>\n");
        for (name, value) in facts {
            let (name, value) = (escaped(name), escaped(value));
            let _ = writeln!(
                self.body,
                "<tr><td class=\"t\">{name}</td><td class=\"p\">{value}</td></tr>"
            );
        }
        self.body.push_str("</tbody></table>\n");
    }

    /// A drawing, with a text for those who do not see it.
    pub fn figure(&mut self, svg: &str, label: &str) {
        let label = escaped(label);
        let _ = writeln!(
            self.body,
            "<figure role=\"img\" aria-label=\"{label}\">\n{svg}\n</figure>"
        );
    }

    /// What is only wanted now and then.
    pub fn folded(&mut self, summary: &str, inside: impl FnOnce(&mut Self)) {
        let _ = writeln!(
            self.body,
            "<details><summary>{}</summary>",
            escaped(summary)
        );
        inside(self);
        self.body.push_str("</details>\n");
    }

    /// The whole document.
    pub fn document(self, title: &str) -> String {
        let title = escaped(title);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
             content=\"width=device-width,initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<title>{title}</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
            self.body
        )
    }
}

/// A value of a manifest in words: names and texts one after the other.
pub fn prose(value: &Value) -> String {
    match value {
        Value::Null => "n/a".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(prose).collect::<Vec<_>>().join("; "),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| format!("{key}: {}", prose(value)))
            .collect::<Vec<_>>()
            .join("; "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let mut page = Page::default();
        page.paragraph("<script>alert('&\"')</script>");
        page.table(&["<b>".to_owned()], &[vec!["a<b".to_owned()]], 1);
        let html = page.document("</title><script>");
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;"));
        assert!(html.contains("<td class=\"t\">a&lt;b</td>"));
    }
}
