//! A conversation written in a model's chat template.

use minijinja::{Environment, ErrorKind, context};
use serde::Serialize;

use super::TextError;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: &str, content: &str) -> Self {
        Self {
            role: role.to_owned(),
            content: content.to_owned(),
        }
    }
}

/// A template in the Jinja language, as model files carry it.
#[derive(Clone, Debug)]
pub(super) struct Template {
    source: String,
    bos: String,
    eos: String,
}

impl Template {
    pub(super) fn new(source: String, bos: Option<String>, eos: Option<String>) -> Self {
        Self {
            source,
            bos: bos.unwrap_or_default(),
            eos: eos.unwrap_or_default(),
        }
    }

    /// The conversation, followed by what opens the assistant's answer.
    pub(super) fn render(&self, messages: &[Message]) -> Result<String, TextError> {
        let mut environment = Environment::new();
        // The conventions that model files are written for: Python's string methods, blocks that swallow
        // their line end, and a function for complaints.
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.add_function("raise_exception", |what: String| {
            Err::<String, _>(minijinja::Error::new(ErrorKind::InvalidOperation, what))
        });
        let rendered = environment.render_str(
            &self.source,
            context! {
                messages,
                bos_token => self.bos,
                eos_token => self.eos,
                add_generation_prompt => true,
            },
        );
        rendered.map_err(|e| TextError::Template(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> Vec<Message> {
        vec![
            Message::new("system", "Be brief."),
            Message::new("user", "Hi "),
        ]
    }

    #[test]
    fn a_template_sees_messages_and_special_tokens() {
        let source = "{{ bos_token }}{% for m in messages %}\n[{{ m['role'] }}]{{ m.content.strip() }}{{ \
                      eos_token }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";
        let template = Template::new(source.to_owned(), Some("<s>".into()), Some("</s>".into()));
        // The line end right after a block belongs to the block.
        assert_eq!(
            template.render(&conversation()).expect("renders"),
            "<s>[system]Be brief.</s>[user]Hi</s>[assistant]"
        );
    }

    #[test]
    fn a_template_that_complains_is_heard() {
        let source = "{{ raise_exception('roles must alternate') }}";
        let template = Template::new(source.to_owned(), None, None);
        let refused = template.render(&conversation()).expect_err("it complains");
        assert!(
            refused.to_string().contains("roles must alternate"),
            "{refused}"
        );
    }

    #[test]
    fn a_broken_template_is_an_error() {
        let template = Template::new("{% for".to_owned(), None, None);
        assert!(matches!(
            template.render(&conversation()),
            Err(TextError::Template(_))
        ));
    }
}
