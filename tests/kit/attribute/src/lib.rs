//! `#[test]`, as suites with the harness of `kekring-kit` understand it.
//!
//! A macro crate exports nothing but macros, so this is apart from the harness. It reads tokens itself: all that it must
//! find are the attributes and the name of a function.

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// Registers a function under its module and name. Below it may stand `#[needs(…)]`, with what the test cannot run
/// without (`root`, `strace`, a program as `"gdb"`, or the path of a function that finds out), and `#[ignore = "why"]`.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return refusal("#[test] takes nothing: what a test needs stands in #[needs(…)] below it");
    }
    let mut rest = item.into_iter().peekable();
    let (mut kept, mut needs, mut why_ignored) = (TokenStream::new(), TokenStream::new(), TokenStream::new());
    while matches!(rest.peek(), Some(TokenTree::Punct(mark)) if mark.as_char() == '#') {
        let mark = rest.next();
        let Some(TokenTree::Group(attribute)) = rest.next() else {
            return refusal("expected an attribute");
        };
        match &*named(&attribute) {
            "needs" => needs = arguments_of(&attribute),
            "ignore" => why_ignored = attribute.stream().into_iter().skip(2).collect(),
            "should_panic" => return refusal("the harness of kekring-kit knows no #[should_panic]"),
            _ => kept.extend(mark.into_iter().chain([TokenTree::Group(attribute)])),
        }
    }
    let function: Vec<TokenTree> = rest.collect();
    let is_fn = |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word.to_string() == "fn");
    let at = function.iter().position(is_fn);
    let Some(name) = at.and_then(|at| function.get(at + 1)).cloned() else {
        return refusal("#[test] is for functions");
    };
    kept.extend(function);
    kept.extend(registration(name, needs, why_ignored));
    kept
}

/// `kekring_kit::registered! { (name) (needs) (why it is ignored) }`.
fn registration(name: TokenTree, needs: TokenStream, why_ignored: TokenStream) -> TokenStream {
    let part = |tokens| TokenTree::Group(Group::new(Delimiter::Parenthesis, tokens));
    let parts = [name.into(), needs, why_ignored].map(part);
    let mut call: TokenStream = "::kekring_kit::registered!".parse().expect("a macro's path");
    let parts = TokenStream::from_iter(parts);
    call.extend([TokenTree::Group(Group::new(Delimiter::Brace, parts))]);
    call
}

/// The first word of an attribute.
fn named(attribute: &Group) -> String {
    let first = attribute.stream().into_iter().next();
    first.map(|it| it.to_string()).unwrap_or_default()
}

/// What stands in the parentheses of an attribute.
fn arguments_of(attribute: &Group) -> TokenStream {
    match attribute.stream().into_iter().nth(1) {
        Some(TokenTree::Group(arguments)) => arguments.stream(),
        _ => TokenStream::new(),
    }
}

fn refusal(why: &str) -> TokenStream {
    format!("::core::compile_error!({why:?});")
        .parse()
        .expect("a macro call")
}
