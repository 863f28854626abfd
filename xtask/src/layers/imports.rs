//! The paths that a file names: its `use` trees and the paths in its code.

use std::collections::BTreeMap;

use crate::tokens::{Token, attribute, visibility};

/// A path as it is written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    /// Its segments, `crate`, `self` and `super` among them, of the file's own module.
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// What a file names, and the modules that stand inside it.
pub(crate) fn imports(tokens: &[Token]) -> Vec<Import> {
    let mut reader = Reader { tokens, inside: Vec::new(), names: BTreeMap::new(), found: Vec::new() };
    reader.read();
    reader.found
}

struct Reader<'a> {
    tokens: &'a [Token],
    /// The modules in braces around this place: their names, and how many braces are open inside each.
    inside: Vec<(String, usize)>,
    /// Names that a `use` gave to paths, for paths that begin with one.
    names: BTreeMap<String, Vec<String>>,
    found: Vec<Import>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut at = 0;
        while let Some(token) = self.tokens.get(at) {
            let next = |ahead: usize| self.tokens.get(at + ahead);
            if let Some(end) = attribute(self.tokens, at) {
                at = end;
            } else if token.is_word("pub") {
                at = visibility(self.tokens, at);
            } else if token.is_word("mod") && next(2).is_some_and(|token| token.is('{')) {
                let name = next(1).and_then(Token::word).unwrap_or_default().to_owned();
                self.inside.push((name, 1));
                at += 3;
            } else if token.is_word("use") {
                at = self.tree(at + 1, &[]);
            } else if token.word().is_some() {
                at = self.path(at);
            } else {
                self.brace(token);
                at += 1;
            }
        }
    }

    fn brace(&mut self, token: &Token) {
        let Some((_, depth)) = self.inside.last_mut() else { return };
        if token.is('{') {
            *depth += 1;
        } else if token.is('}') {
            *depth -= 1;
            if *depth == 0 {
                self.inside.pop();
            }
        }
    }

    fn double_colon(&self, at: usize) -> bool {
        let colon = |at: usize| self.tokens.get(at).is_some_and(|token: &Token| token.is(':'));
        colon(at) && colon(at + 1)
    }

    /// One tree of a `use` and what ends it. Returns the place after it.
    fn tree(&mut self, mut at: usize, prefix: &[String]) -> usize {
        let mut path = prefix.to_vec();
        if self.double_colon(at) {
            at += 2;
        }
        while let Some(token) = self.tokens.get(at) {
            if token.is('{') {
                at += 1;
                while self.tokens.get(at).is_some_and(|token| !token.is('}')) {
                    at = self.tree(at, &path);
                    at += usize::from(self.tokens.get(at).is_some_and(|token| token.is(',')));
                }
                return at + 1;
            }
            let line = token.line;
            if let Some(word) = token.word() {
                // `a::{self}` is `a`.
                if word != "self" || path.is_empty() {
                    path.push(word.to_owned());
                }
            }
            at += 1;
            if self.double_colon(at) {
                at += 2;
                continue;
            }
            let mut name = path.last().cloned();
            if self.tokens.get(at).is_some_and(|token| token.is_word("as")) {
                name = self.tokens.get(at + 1).and_then(Token::word).map(str::to_owned);
                at += 2;
            }
            let import = self.resolved(path, line);
            if let Some(name) = name {
                self.names.insert(name, import.path.clone());
            }
            self.found.push(import);
            return at;
        }
        at
    }

    /// A path in the code that begins here. Returns the place after it.
    fn path(&mut self, at: usize) -> usize {
        let (mut path, mut end) = (Vec::new(), at);
        while let Some(word) = self.tokens.get(end).and_then(Token::word) {
            path.push(word.to_owned());
            end += 1;
            if !self.double_colon(end) {
                break;
            }
            end += 2;
        }
        // A method of the name, or the rest of a path that begins with a type.
        let goes_on = at >= 1 && self.tokens[at - 1].is('.') || at >= 2 && self.double_colon(at - 2);
        if path.len() > 1 && !goes_on {
            if let Some(known) = self.names.get(&path[0]).filter(|known| known.len() > 1) {
                path = known.iter().chain(&path[1..]).cloned().collect();
                self.found.push(Import { path, line: self.tokens[at].line });
            } else {
                let import = self.resolved(path, self.tokens[at].line);
                self.found.push(import);
            }
        }
        end.max(at + 1)
    }

    /// The path as it would be written at the top of the file, outside of the modules in braces.
    fn resolved(&self, mut path: Vec<String>, line: usize) -> Import {
        if path.first().is_some_and(|first| first != "crate") && !self.inside.is_empty() {
            let up = path.iter().take_while(|segment| *segment == "super").count();
            if up > 0 {
                let kept = self.inside.len().saturating_sub(up);
                let mut outside = vec!["super".to_owned(); up.saturating_sub(self.inside.len())];
                if outside.is_empty() {
                    outside.push("self".to_owned());
                }
                outside.extend(self.inside[..kept].iter().map(|(name, _)| name.clone()));
                outside.extend(path.drain(up..));
                path = outside;
            }
        }
        Import { path, line }
    }
}
