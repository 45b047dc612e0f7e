//! The beginning of a file, as the importers look at it to tell whether it is theirs.
//!
//! What: the JSON values that the first bytes hold, each as a map from path to text, also where the
//! last value is cut anywhere. Why: endings lie (`.jsonl` is four formats), and a document may be
//! hundreds of megabytes. Limits: paths of at most [`DEPTH`] steps in the first [`VALUES`] values.

use std::collections::BTreeMap;

/// How many bytes of a file are enough to recognise it. More are welcome, fewer may not do.
pub const HEAD_BYTES: usize = 64 * 1024;

/// So many values are looked at: transcripts open with lines of many kinds.
const VALUES: usize = 64;

/// Paths deeper than this tell no formats apart.
const DEPTH: usize = 6;

/// Deeper nesting ends the look: no format opens like that.
const NESTING: usize = 100;

/// Longer texts are content, not kinds of things.
const TEXT: usize = 200;

/// The beginning of a file.
#[derive(Debug)]
pub struct Head<'a> {
    /// The file's name; may have folders before it.
    pub name: &'a str,
    /// Its first bytes.
    pub bytes: &'a [u8],
    /// The JSON values that the bytes begin with; none where they begin with something else.
    pub values: Vec<Facts>,
}

/// What a JSON value holds: every path in it, with its text where that is short.
///
/// A path is keys with a dot between them and `[]` for any item of an array: `messages[].role`. Of
/// several texts at one path the first counts.
#[derive(Clone, Debug, Default)]
pub struct Facts(BTreeMap<String, String>);

impl<'a> Head<'a> {
    /// Looks at the first bytes of a file; they may end anywhere.
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Self {
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut scan = Scan { text, at: 0 };
        let mut values = Vec::new();
        while values.len() < VALUES {
            let mut facts = Facts::default();
            let whole = scan.value(&mut facts, &mut String::new(), 0).is_some();
            if !facts.0.is_empty() {
                values.push(facts);
            }
            if !whole {
                break;
            }
        }
        Self {
            name,
            bytes,
            values,
        }
    }

    /// The first value, which is the document where a file is one.
    pub fn first(&self) -> Option<&Facts> {
        self.values.first()
    }

    /// Whether any of the values is such.
    pub fn any(&self, is: impl FnMut(&Facts) -> bool) -> bool {
        self.values.iter().any(is)
    }
}

impl Facts {
    /// Whether there is something at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Whether there is something at each of the paths.
    pub fn has_all(&self, paths: &[&str]) -> bool {
        paths.iter().all(|path| self.has(path))
    }

    /// The text (or number, as written) at `path`, if there is one and it is short.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.0
            .get(path)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    fn note(&mut self, path: &str, text: &[u8], depth: usize) {
        if depth > DEPTH {
            return;
        }
        let noted = self.0.entry(path.to_owned()).or_default();
        if noted.is_empty() && text.len() <= TEXT {
            *noted = String::from_utf8_lossy(text).into_owned();
        }
    }
}

/// A reader of JSON that does not mind where it ends. `None` anywhere: the end, or no JSON.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn value(&mut self, facts: &mut Facts, path: &mut String, depth: usize) -> Option<()> {
        self.space();
        match self.peek()? {
            _ if depth > NESTING => return None,
            b'{' => self.items(facts, path, depth, b'}')?,
            b'[' => self.items(facts, path, depth, b']')?,
            b'"' => {
                let text = self.string()?;
                facts.note(path, text, depth);
            }
            _ => {
                let rest = &self.text[self.at..];
                let ends = |b: &u8| matches!(b, b',' | b']' | b'}') || b.is_ascii_whitespace();
                let end = rest.iter().position(ends).unwrap_or(rest.len());
                let word = &rest[..end];
                let is_scalar = word
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
                if word.is_empty() || !is_scalar || depth == 0 {
                    return None;
                }
                facts.note(path, word, depth);
                self.at += end;
            }
        }
        Some(())
    }

    /// The items of an object or array that opens here and closes with `close`.
    fn items(
        &mut self,
        facts: &mut Facts,
        path: &mut String,
        depth: usize,
        close: u8,
    ) -> Option<()> {
        self.at += 1;
        let length = path.len();
        loop {
            self.space();
            match self.peek()? {
                b if b == close => {
                    self.at += 1;
                    return Some(());
                }
                b',' => {
                    self.at += 1;
                    continue;
                }
                b'"' if close == b'}' => {
                    let key = self.string()?;
                    self.space();
                    if self.peek()? != b':' {
                        return None;
                    }
                    self.at += 1;
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&String::from_utf8_lossy(&key[..key.len().min(TEXT)]));
                }
                _ if close == b']' => path.push_str("[]"),
                _ => return None,
            }
            facts.note(path, b"", depth + 1);
            self.value(facts, path, depth + 1)?;
            path.truncate(length);
        }
    }

    /// The string that opens here, as written.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at + 1;
        let mut at = start;
        loop {
            match self.text.get(at)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        Some(&self.text[start..at])
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_documents_are_seen_alike() {
        let text = b"{\"type\":\"a\",\"m\":{\"u\":[{\"n\":1},{\"n\":2}]}}\n{\n \"b\" : null }";
        let head = Head::new("f", text);
        assert_eq!(head.values.len(), 2);
        assert_eq!(head.values[0].text("type"), Some("a"));
        assert_eq!(head.values[0].text("m.u[].n"), Some("1"));
        assert!(head.values[0].has("m.u[]") && !head.values[0].has("b"));
        assert_eq!(head.values[1].text("b"), Some("null"));
    }

    #[test]
    fn a_cut_takes_away_and_never_adds() {
        let text = br#"{"a":{"b":"x\"y","c":[1,{"d":true}]},"e":"z"} {"f":1}"#;
        let whole = Head::new("f", text);
        for end in 0..text.len() {
            let cut = Head::new("f", &text[..end]);
            assert!(cut.values.len() <= whole.values.len());
            for (ours, all) in cut.values.iter().zip(&whole.values) {
                for path in ours.0.keys() {
                    assert!(all.has(path), "{path} at {end}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_json_has_no_values() {
        for text in [
            &b"TIMESTAMP,A,B\n1,2,3"[..],
            b"",
            b"\xFF\xFE{\x00",
            b"12",
            b"}",
        ] {
            assert!(Head::new("f", text).values.is_empty(), "{text:?}");
        }
        let deep = vec![b'['; 1 << 20];
        assert!(Head::new("f", &deep).values.len() <= 1);
    }
}
