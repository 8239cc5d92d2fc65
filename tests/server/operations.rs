//! docs/operations.md: it explains each warning and error that the server can log.

use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

/// How much of a message the document must have, in characters.
const START: usize = 35;

fn source_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Collects the messages of `warn!` and `error!`: the last string in their parentheses.
fn messages(tokens: TokenStream, found: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else {
            continue;
        };
        let is_log = at >= 2
            && matches!(&tokens[at - 1], TokenTree::Punct(bang) if bang.as_char() == '!')
            && matches!(&tokens[at - 2], TokenTree::Ident(name) if name == "warn" || name == "error");
        if is_log {
            let strings = group.stream().into_iter().filter_map(|token| match token {
                TokenTree::Literal(literal) => syn::parse_str(&literal.to_string()).ok(),
                _ => None,
            });
            let message: Option<syn::LitStr> = strings.last();
            found.push(message.expect("a message").value());
        }
        messages(group.stream(), found);
    }
}

#[test]
fn each_warning_and_error_is_explained() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(package.join("docs/operations.md")).unwrap();
    let (mut files, mut found) = (Vec::new(), Vec::new());
    source_files(&package.join("src"), &mut files);
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        messages(source.parse().unwrap(), &mut found);
    }
    assert!(found.len() >= 20, "{found:?}");
    let missing = found.iter().filter(|message| {
        let start: String = message.chars().take(START).collect();
        !document.contains(&format!("`{start}"))
    });
    assert_eq!(missing.collect::<Vec<_>>(), [""; 0]);
}
