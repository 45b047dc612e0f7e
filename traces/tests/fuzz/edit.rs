//! Damage that keeps a recording nearly well formed: random bytes alone never get past the JSON.

use bolero::TypeGenerator;

use crate::corpus::Sample;

/// One change to a recording. Positions are taken modulo what is there.
#[derive(Clone, Debug, TypeGenerator)]
pub(crate) enum Edit {
    /// Another byte.
    Byte(u16, u8),
    /// The file ends here.
    Cut(u16),
    /// Bytes are gone.
    Remove(u16, u8),
    /// Something else in the place of a number.
    Number(u16, u8),
    /// Something else in the place of a string, key or value.
    Text(u16, u8),
    /// A line appears again elsewhere.
    Repeat(u8, u8),
    /// A line is gone.
    Lose(u8),
    /// Two lines change places: time goes back.
    Swap(u8, u8),
    /// One of the files beside is changed instead, or gone.
    Beside(u8, Option<(u16, u8)>),
    /// The whole file in another encoding.
    Encode(u8),
}

/// What may stand where a value was.
const VALUES: &[&str] = &[
    "0",
    "-1",
    "1",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "0.5",
    "1e-300",
    "1e308",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "9007199254740993",
    "\"2499-12-31T23:59:59.999999999Z\"",
    "\"1970-01-01T00:00:00Z\"",
    "\"\\ud83d\"",
    "\"t1\"",
];

pub(crate) fn edited(sample: &Sample, edits: &[Edit]) -> Sample {
    let mut sample = sample.clone();
    for edit in edits {
        apply(&mut sample, edit);
    }
    sample
}

fn apply(sample: &mut Sample, edit: &Edit) {
    let text = &mut sample.main;
    match *edit {
        Edit::Byte(at, byte) => {
            if let Some(at) = within(at, text.len()) {
                text[at] = byte;
            }
        }
        Edit::Cut(at) => text.truncate(within(at, text.len()).unwrap_or(0)),
        Edit::Remove(at, length) => {
            let start = within(at, text.len()).unwrap_or(0);
            let end = (start + usize::from(length)).min(text.len());
            text.drain(start..end);
        }
        Edit::Number(nth, value) => replace(text, &numbers(text), nth, value),
        Edit::Text(nth, value) => replace(text, &strings(text), nth, value),
        Edit::Repeat(from, to) => lines(text, |lines| {
            let line = lines[usize::from(from) % lines.len()].clone();
            lines.insert(usize::from(to) % lines.len(), line);
        }),
        Edit::Lose(at) => lines(text, |lines| {
            lines.remove(usize::from(at) % lines.len());
        }),
        Edit::Swap(a, b) => lines(text, |lines| {
            let count = lines.len();
            lines.swap(usize::from(a) % count, usize::from(b) % count);
        }),
        Edit::Beside(which, change) => {
            let names: Vec<String> = sample.beside.keys().cloned().collect();
            let Some(at) = within(u16::from(which), names.len()) else {
                return;
            };
            match (change, sample.beside.get_mut(&names[at])) {
                (Some((nth, value)), Some(file)) => replace(file, &numbers(file), nth, value),
                _ => drop(sample.beside.remove(&names[at])),
            }
        }
        Edit::Encode(how) => *text = encoded(text, how),
    }
}

fn within(at: u16, length: usize) -> Option<usize> {
    usize::from(at).checked_rem(length)
}

fn replace(text: &mut Vec<u8>, places: &[(usize, usize)], nth: u16, value: u8) {
    if let Some(at) = within(nth, places.len()) {
        let (start, end) = places[at];
        let value = VALUES[usize::from(value) % VALUES.len()];
        text.splice(start..end, value.bytes());
    }
}

fn lines(text: &mut Vec<u8>, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut all: Vec<Vec<u8>> = text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    change(&mut all);
    *text = all.join(&b'\n');
}

/// Where the numbers are that stand as values.
fn numbers(text: &[u8]) -> Vec<(usize, usize)> {
    let is_number = |b: &u8| b.is_ascii_digit() || b"+-.eE".contains(b);
    let mut found = Vec::new();
    let mut at = 1;
    while at < text.len() {
        let length = text[at..].iter().take_while(|b| is_number(b)).count();
        if length > 0 && b":[,".contains(&text[at - 1]) {
            found.push((at, at + length));
        }
        at += length.max(1);
    }
    found
}

/// Where the strings are, with their quotes.
fn strings(text: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].iter().position(|b| *b == b'"').map(|i| at + i) {
        let mut end = start + 1;
        while end < text.len() && text[end] != b'"' {
            end += if text[end] == b'\\' { 2 } else { 1 };
        }
        if end >= text.len() {
            break;
        }
        found.push((start, end + 1));
        at = end + 1;
    }
    found
}

fn encoded(text: &[u8], how: u8) -> Vec<u8> {
    match how % 5 {
        // UTF-16, either way round, with its mark.
        0 => [0xFF, 0xFE]
            .into_iter()
            .chain(text.iter().flat_map(|b| [*b, 0]))
            .collect(),
        1 => [0xFE, 0xFF]
            .into_iter()
            .chain(text.iter().flat_map(|b| [0, *b]))
            .collect(),
        // Latin-1.
        2 => text
            .iter()
            .map(|b| if *b == b'o' { 0xF6 } else { *b })
            .collect(),
        // A NUL now and then.
        3 => text
            .iter()
            .map(|b| if *b == b'x' { 0 } else { *b })
            .collect(),
        // UTF-8 with a mark.
        _ => b"\xEF\xBB\xBF".iter().chain(text).copied().collect(),
    }
}
