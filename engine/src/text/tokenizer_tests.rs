use super::*;
use crate::fetch;

/// The fetched SmolLM2, or `None` with a line that says so.
fn smollm2() -> Option<Text> {
    match fetch::find("smollm2") {
        Ok(path) => Some(Text::load(&path).expect("a whole file")),
        Err(e) => {
            eprintln!("skipped: {e}");
            None
        }
    }
}

/// Ids from llama.cpp's tokenizer on the same file.
#[test]
fn smollm2_tokens_are_those_of_its_training() {
    let Some(text) = smollm2() else { return };
    let chat = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging \
                Face<|im_end|>\n<|im_start|>user\nWhat is the capital of \
                France?<|im_end|>\n<|im_start|>assistant\n";
    let wanted = [
        1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411,
        407, 19712, 8182, 2, 198, 1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1,
        520, 9531, 198,
    ];
    assert_eq!(text.encode(chat).expect("encodes"), wanted);
    // The file's own template writes the same conversation; without a system message it adds its own.
    let asked = [Message::new("user", "What is the capital of France?")];
    assert_eq!(text.chat(&asked).expect("renders"), wanted);
    assert_eq!(text.ends(), [0, 2]);
}

#[test]
fn text_comes_back_whole_and_in_pieces() {
    let Some(text) = smollm2() else { return };
    let said = "Hello World 12345 foo_bar(x)\n\n\tdef f(a,b): return a+b  # naïve café 日本語 🎉";
    let ids = text.encode(said).expect("encodes");
    assert_eq!(text.decode(&ids).expect("decodes"), said);
    let mut stream = text.stream();
    let pieces: Vec<String> = ids
        .iter()
        .map(|id| stream.push(*id).expect("decodes"))
        .collect();
    assert_eq!(pieces.concat(), said);
    assert!(
        pieces.iter().any(String::is_empty),
        "a character of several tokens waits: {pieces:?}"
    );
    assert!(pieces.iter().all(|p| !p.contains('\u{fffd}')), "{pieces:?}");
}

#[test]
fn an_unknown_split_is_an_error_that_names_the_known() {
    let mut tokenizer = Tokenizer::new(tokenizers::models::bpe::BPE::default());
    let refused = set_split(&mut tokenizer, "tekken").expect_err("not known");
    assert_eq!(
        refused,
        "tokenizer.ggml.pre is `tekken` (known: smollm, llama-bpe, qwen2, gpt-2)"
    );
}

#[test]
fn a_file_that_is_no_model_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.gguf");
    std::fs::write(&path, b"GGUF\x03\0\0\0 nothing").expect("written");
    assert!(matches!(Text::load(&path), Err(TextError::Bad { .. })));
    let missing = Text::load(&folder.path().join("none.gguf")).expect_err("absent");
    assert!(missing.to_string().contains("none.gguf"), "{missing}");
    std::fs::write(folder.path().join("tokenizer.json"), "{}").expect("written");
    assert!(matches!(
        Text::load(folder.path()),
        Err(TextError::Bad { .. })
    ));
}
