//! A model's own tokenizer, from its GGUF file or its folder.

use std::fs::{self, File};
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf as _;
use tokenizers::Tokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use super::TextError;
use super::chat::{Message, Template};
use crate::model::{GgufHeader, LoadError};

/// Tokens that end a turn in the vocabularies of the supported families, whatever a file says its end
/// token is.
const ENDS: [&str; 4] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
];

/// Llama 3's split of text into words, as its `tokenizer.json` states it.
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Tokenizer, chat template and end tokens of a model.
#[derive(Debug)]
pub struct Text {
    tokenizer: Tokenizer,
    template: Option<Template>,
    ends: Vec<u32>,
}

impl Text {
    /// Of a GGUF file, or of a folder with `tokenizer.json` (and `tokenizer_config.json`).
    ///
    /// # Errors
    /// [`TextError`] with the file and what is wrong in it.
    pub fn load(path: &Path) -> Result<Self, TextError> {
        if path.is_dir() {
            Self::of_folder(path)
        } else {
            Self::of_gguf(path)
        }
    }

    fn of_gguf(path: &Path) -> Result<Self, TextError> {
        let bad = |what: String| TextError::Bad {
            path: path.display().to_string(),
            what,
        };
        let mut file = File::open(path).map_err(|source| file_error(path, source))?;
        // Candle's reader divides by the alignment, whatever a damaged file says it is.
        GgufHeader::open(path).map_err(|e| match e {
            LoadError::File { what, .. } => bad(what),
            e => bad(e.to_string()),
        })?;
        let content = Content::read(&mut file).map_err(|e| bad(e.to_string()))?;
        let text = |key: &str| match content.metadata.get(key) {
            Some(Value::String(text)) => Some(text.clone()),
            _ => None,
        };
        let mut tokenizer = Tokenizer::from_gguf(&content).map_err(|e| bad(e.to_string()))?;
        let split = text("tokenizer.ggml.pre").unwrap_or_default();
        set_split(&mut tokenizer, &split).map_err(bad)?;
        let end = content.metadata.get("tokenizer.ggml.eos_token_id");
        let end = end.and_then(|v| v.to_u32().ok());
        let named = |key: &str| {
            let id = content.metadata.get(key).and_then(|v| v.to_u32().ok());
            id.and_then(|id| tokenizer.id_to_token(id))
        };
        let template = text("tokenizer.chat_template").map(|source| {
            let bos = named("tokenizer.ggml.bos_token_id");
            Template::new(source, bos, named("tokenizer.ggml.eos_token_id"))
        });
        Ok(Self {
            ends: ends(&tokenizer, end),
            template,
            tokenizer,
        })
    }

    fn of_folder(folder: &Path) -> Result<Self, TextError> {
        let path = folder.join("tokenizer.json");
        let bytes = fs::read(&path).map_err(|source| file_error(&path, source))?;
        let tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| TextError::Bad {
            path: path.display().to_string(),
            what: e.to_string(),
        })?;
        let path = folder.join("tokenizer_config.json");
        let config: serde_json::Value = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| TextError::Bad {
                path: path.display().to_string(),
                what: e.to_string(),
            })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => serde_json::Value::Null,
            Err(e) => return Err(file_error(&path, e)),
        };
        // A special token is its text, or an object that holds it.
        let token = |key: &str| {
            let value = &config[key];
            let text = value.as_str().or_else(|| value["content"].as_str());
            text.map(str::to_owned)
        };
        let template = config["chat_template"]
            .as_str()
            .map(|source| Template::new(source.to_owned(), token("bos_token"), token("eos_token")));
        let end = token("eos_token").and_then(|t| tokenizer.token_to_id(&t));
        Ok(Self {
            ends: ends(&tokenizer, end),
            template,
            tokenizer,
        })
    }

    /// Ids of a text that continues nothing: with the model's begin token, if it wants one.
    ///
    /// # Errors
    /// [`TextError::Tokenizer`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.ids(text, true)
    }

    /// Ids of a conversation in the model's chat template, up to where the assistant's answer begins.
    ///
    /// # Errors
    /// [`TextError::NoTemplate`], or what the template says.
    pub fn chat(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        let template = self.template.as_ref().ok_or(TextError::NoTemplate)?;
        self.ids(&template.render(messages)?, false)
    }

    /// Whether the model can be talked to.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// Tokens that end an answer.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Text of ids, special tokens left out.
    ///
    /// # Errors
    /// [`TextError::Tokenizer`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        let text = self.tokenizer.decode(ids, true);
        text.map_err(|e| TextError::Tokenizer(e.to_string()))
    }

    /// Text as its ids come, one by one.
    pub fn stream(&self) -> Stream<'_> {
        Stream {
            text: self,
            ids: Vec::new(),
            told: 0,
        }
    }

    fn ids(&self, text: &str, special: bool) -> Result<Vec<u32>, TextError> {
        let encoded = self.tokenizer.encode(text, special);
        let encoded = encoded.map_err(|e| TextError::Tokenizer(e.to_string()))?;
        Ok(encoded.get_ids().to_vec())
    }
}

/// Text of a growing list of ids, whole characters at a time.
#[derive(Debug)]
pub struct Stream<'a> {
    text: &'a Text,
    /// Ids since the last character boundary that was told with all before it.
    ids: Vec<u32>,
    /// Bytes of their text that are told.
    told: usize,
}

impl Stream<'_> {
    /// What the next id adds; empty while a character is not whole.
    ///
    /// # Errors
    /// [`TextError::Tokenizer`].
    pub fn push(&mut self, id: u32) -> Result<String, TextError> {
        self.ids.push(id);
        let text = self.text.decode(&self.ids)?;
        // An unfinished character decodes to the replacement character; wait for its other bytes.
        if text.ends_with('\u{fffd}') || text.len() <= self.told {
            return Ok(String::new());
        }
        let new = text[self.told..].to_owned();
        if new.ends_with(char::is_whitespace) {
            // Words do not reach over white space: a new piece starts here, so that a long answer does
            // not decode its own beginning again for every token.
            self.ids.clear();
            self.told = 0;
        } else {
            self.told = text.len();
        }
        Ok(new)
    }
}

fn file_error(path: &Path, source: std::io::Error) -> TextError {
    TextError::File {
        path: path.display().to_string(),
        source,
    }
}

/// Sets how a text is split before byte pairs are merged, by the name that GGUF files give it.
///
/// Why: the library that reads GGUF knows some of these names and takes GPT-2's split, with a space
/// put before the text, for all others. That gives other tokens than the model was trained with.
fn set_split(tokenizer: &mut Tokenizer, name: &str) -> Result<(), String> {
    let byte_level = |regex| ByteLevel::new(false, true, regex);
    match name {
        // The library's own reading of this one is right.
        "qwen2" => {}
        // Digits one by one, then GPT-2's split without a space before the text.
        "smollm" => {
            let split = Sequence::new(vec![Digits::new(true).into(), byte_level(true).into()]);
            tokenizer.with_pre_tokenizer(Some(split));
        }
        "llama-bpe" | "llama3" | "llama-v3" => {
            let words = SplitPattern::Regex(LLAMA_3.to_owned());
            let words = Split::new(words, SplitDelimiterBehavior::Isolated, false);
            let words = words.map_err(|e| e.to_string())?;
            let split = Sequence::new(vec![words.into(), byte_level(false).into()]);
            tokenizer.with_pre_tokenizer(Some(split));
        }
        "gpt-2" | "gpt2" | "default" | "" => {
            tokenizer.with_pre_tokenizer(Some(byte_level(true)));
        }
        other => {
            return Err(format!(
                "tokenizer.ggml.pre is `{other}` (known: smollm, llama-bpe, qwen2, gpt-2)"
            ));
        }
    }
    Ok(())
}

fn ends(tokenizer: &Tokenizer, stated: Option<u32>) -> Vec<u32> {
    let known = ENDS.iter().filter_map(|t| tokenizer.token_to_id(t));
    let mut ends: Vec<u32> = stated.into_iter().chain(known).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

#[cfg(test)]
#[path = "tokenizer_tests.rs"]
mod tests;
