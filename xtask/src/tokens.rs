//! Rust source as words and punctuation, without the contents of strings, and, where asked, without what is compiled for
//! tests only.

use proc_macro2::{TokenStream, TokenTree};

/// A word (names, keywords, numbers), a sign, or a literal in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name, a keyword or a number.
    Word(String),
    /// One sign; `::` is two of them.
    Sign(char),
    /// A string or a character; a documentation comment is an attribute with one.
    Quoted,
}

/// One of them and its line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }

    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }
}

/// The tokens of a file; none of one that is no Rust, which the compiler refuses.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    flatten(text.parse().unwrap_or_default(), &mut tokens);
    tokens
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let kind = match tree {
            TokenTree::Group(group) => {
                let end = group.span_close().end().line;
                let signs = match group.delimiter() {
                    proc_macro2::Delimiter::Parenthesis => Some(('(', ')')),
                    proc_macro2::Delimiter::Brace => Some(('{', '}')),
                    proc_macro2::Delimiter::Bracket => Some(('[', ']')),
                    proc_macro2::Delimiter::None => None,
                };
                tokens.extend(signs.map(|(open, _)| Token { kind: Kind::Sign(open), line }));
                flatten(group.stream(), tokens);
                tokens.extend(signs.map(|(_, close)| Token { kind: Kind::Sign(close), line: end }));
                continue;
            }
            TokenTree::Ident(name) => Kind::Word(name.to_string().trim_start_matches("r#").to_owned()),
            TokenTree::Punct(sign) => Kind::Sign(sign.as_char()),
            TokenTree::Literal(literal) => match literal.to_string() {
                number if number.starts_with(|first: char| first.is_ascii_digit()) => Kind::Word(number),
                _ => Kind::Quoted,
            },
        };
        tokens.push(Token { kind, line });
    }
}

/// What is left of a file without its tests, and the modules that stand in files of their own and are for tests only.
pub(crate) fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let Some(end) = attribute(tokens, at).filter(|end| for_tests(&tokens[at..*end])) else {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        };
        let mut item = end;
        while let Some(end) = attribute(tokens, item) {
            item = end;
        }
        let end = item_end(tokens, item);
        if let Some(name) = tokens[item..end].iter().skip_while(|token| !token.is_word("mod")).nth(1)
            && tokens[end - 1].is(';')
        {
            modules.extend(name.word().map(str::to_owned));
        }
        at = end;
    }
    (kept, modules)
}

/// The end of the attribute that begins here.
pub(crate) fn attribute(tokens: &[Token], at: usize) -> Option<usize> {
    let begins = tokens.get(at)?.is('#') && tokens.get(at + 1)?.is('[');
    begins.then(|| closing(tokens, at + 1))
}

/// The place after what closes the bracket that stands here.
fn closing(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(at) {
        if let Kind::Sign('(' | '[' | '{') = token.kind {
            depth += 1;
        } else if let Kind::Sign(')' | ']' | '}') = token.kind {
            depth -= 1;
            if depth == 0 {
                return place + 1;
            }
        }
    }
    tokens.len()
}

/// `#[cfg(test)]`, or `#[cfg(all(test, ...))]`.
fn for_tests(attribute: &[Token]) -> bool {
    let words: Vec<_> = attribute.iter().filter_map(Token::word).collect();
    matches!(words[..], ["cfg", "test"])
        || words.starts_with(&["cfg", "all"]) && words.get(2) == Some(&"test")
}

/// The place after `pub`, `pub(crate)` and the like, where one stands here.
pub(crate) fn visibility(tokens: &[Token], at: usize) -> usize {
    match tokens.get(at + 1) {
        _ if !tokens.get(at).is_some_and(|token| token.is_word("pub")) => at,
        Some(next) if next.is('(') => closing(tokens, at + 1),
        _ => at + 1,
    }
}

/// The place after the item, field or arm that begins here.
fn item_end(tokens: &[Token], at: usize) -> usize {
    const ITEMS: [&str; 15] = [
        "fn",
        "mod",
        "struct",
        "enum",
        "impl",
        "const",
        "static",
        "type",
        "trait",
        "union",
        "macro_rules",
        "let",
        "async",
        "unsafe",
        "extern",
    ];
    let after = visibility(tokens, at);
    let words = || tokens[after..].iter().map_while(Token::word);
    let is_use = words().next() == Some("use");
    let is_item = words().any(|word| ITEMS.contains(&word));
    let mut place = at;
    while let Some(token) = tokens.get(place) {
        match token.kind {
            Kind::Sign(';') => return place + 1,
            Kind::Sign(',') if !is_item && !is_use => return place + 1,
            Kind::Sign(')' | ']' | '}') => return place,
            Kind::Sign('{') if !is_use => return closing(tokens, place),
            Kind::Sign('(' | '[' | '{') => place = closing(tokens, place),
            _ => place += 1,
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tokens: &[Token]) -> String {
        let text = |token: &Token| match &token.kind {
            Kind::Word(word) => word.clone(),
            Kind::Sign(sign) => sign.to_string(),
            Kind::Quoted => "\"\"".to_owned(),
        };
        tokens.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_the_contents_of_strings_are_left_out() {
        for (source, expected) in [
            ("a // use crate::b;\nc", "a c"),
            ("a /* x /* y */ use z */ c", "a c"),
            (r#"a("use crate::b \" c", d)"#, "a ( \"\" , d )"),
            ("r#\"a \" b\"# c", "\"\" c"),
            ("br##\"a \"# b\"## c", "\"\" c"),
            ("b\"a\" b'\\'' '\\\\' '\\u{1F600}' '\"' x", "\"\" \"\" \"\" \"\" \"\" x"),
            ("fn a<'b>(c: &'b str) -> char { 'd' }", "fn a < ' b > ( c : & ' b str ) - > char { \"\" }"),
            ("r#type::r#fn", "type : : fn"),
            ("1_000.5e3 .. 'a'..='z'", "1_000.5e3 . . \"\" . . = \"\""),
        ] {
            assert_eq!(text(&tokens(source)), expected, "{source}");
        }
        assert_eq!(tokens("a\n\"b\nc\"\nd").last().map(|token| token.line), Some(4));
    }

    #[test]
    fn what_is_for_tests_is_left_out() {
        for (source, expected) in [
            ("a; #[cfg(test)] mod tests { fn b() { c } } d", "a ; d"),
            ("#[cfg(test)] #[path = \"x.rs\"] mod tests; d", "d"),
            ("#[cfg(test)] pub(crate) use a::{b, c}; d", "d"),
            ("#[cfg(all(test, unix))] fn a<B, C>(b: B) -> [u8; 2] { [0; 2] } d", "d"),
            ("struct A { #[cfg(test)] b: Vec<(u8, u8)>, c: D }", "struct A { c : D }"),
            ("struct A { #[cfg(test)] pub(crate) b: B, c: D }", "struct A { c : D }"),
            ("struct A { c: D, #[cfg(test)] b: B }", "struct A { c : D , }"),
            ("match a { #[cfg(test)] B => { c } D => e }", "match a { D = > e }"),
            ("#[cfg(not(test))] mod a;", "# [ cfg ( not ( test ) ) ] mod a ;"),
            (
                "#[cfg(any(test, feature = \"x\"))] mod a;",
                "# [ cfg ( any ( test , feature = \"\" ) ) ] mod a ;",
            ),
        ] {
            assert_eq!(text(&without_tests(&tokens(source)).0), expected, "{source}");
        }
        let source =
            "#[cfg(test)] mod tests; #[cfg(test)] mod inline {} #[cfg(test)] pub(crate) mod harness;";
        assert_eq!(without_tests(&tokens(source)).1, ["tests", "harness"]);
    }
}
